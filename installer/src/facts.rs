//! What the machine is found to be, looked into by libblkid.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_facts::machine;
use bedplate_facts::probe::Finding;
use bedplate_facts::roots::Roots;
use bedplate_spec::facts::Facts;

use crate::error::{During as _, StepError};

/// Where facts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This machine.
    Machine,
    /// An inventory in a file: a test shows a machine that is not there. What is written to is
    /// checked against the real one all the same.
    Inventory(PathBuf),
}

impl Source {
    /// Waits until what is plugged in has its names.
    pub fn settle(&self) -> Result<(), StepError> {
        match self {
            Self::Machine => bedplate_tools::udev::settle().during("udev did not come to rest"),
            Self::Inventory(_) => Ok(()),
        }
    }

    /// The facts.
    pub fn read(&self) -> Result<Facts, StepError> {
        match self {
            Self::Machine => Ok(machine::read(&roots())),
            Self::Inventory(path) => {
                let what = || format!("{} is no inventory", path.display());
                let text = fs::read_to_string(path).during(what())?;
                serde_json::from_str(&text).during(what())
            }
        }
    }
}

/// This machine, with a look into every device.
pub fn roots() -> Roots {
    Roots::looking(probe)
}

fn probe(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    let finding =
        |one: bedplate_blkid::Finding| Finding { kind: one.kind, label: one.label, uuid: one.uuid };
    Ok(bedplate_blkid::probe(node)?.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek as _, SeekFrom, Write as _};

    use bedplate_facts::probe::by_wipefs;

    use super::*;

    /// Images with one signature each, and one with two.
    fn images() -> Vec<tempfile::NamedTempFile> {
        let image = |write: &dyn Fn(&mut File)| {
            let image = tempfile::NamedTempFile::new().unwrap();
            image.as_file().set_len(64 << 20).unwrap();
            write(&mut image.reopen().unwrap());
            image
        };
        let put = |file: &mut File, at: u64, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(bytes).unwrap();
        };
        let vfat = |file: &mut File| {
            let options = fatfs::FormatVolumeOptions::new();
            let options = options.volume_id(0x1A2B_3C4D).volume_label(*b"HELLO      ");
            fatfs::format_volume(file, options).unwrap();
        };
        let gpt = |file: &mut File| {
            gpt::mbr::ProtectiveMBR::with_lb_size(131_071).overwrite_lba0(file).unwrap();
            let disk = gpt::GptConfig::new().writable(true);
            let disk = disk.create_from_device(
                &mut *file,
                Some(uuid::Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef)),
            );
            disk.unwrap().write().unwrap();
        };
        let swap = |file: &mut File| {
            put(file, 1024, &1_u32.to_le_bytes());
            put(file, 1028, &1000_u32.to_le_bytes());
            put(file, 4096 - 10, b"SWAPSPACE2");
        };
        vec![
            image(&|_| ()),
            image(&vfat),
            image(&gpt),
            image(&swap),
            image(&|file| {
                vfat(file);
                put(file, 0x8001, b"CD001");
                put(file, 0x8000, b"\x01");
            }),
        ]
    }

    #[test]
    fn t06_libblkid_and_wipefs_find_the_same() {
        let mut kinds = Vec::new();
        for image in images() {
            let once = |mut found: Vec<Finding>| {
                found.retain(|finding| finding.kind != "PMBR");
                found.sort_by(|a, b| a.kind.cmp(&b.kind));
                found.dedup();
                found
            };
            let by_library = once(probe(image.path()).unwrap());
            assert_eq!(by_library, once(by_wipefs(image.path()).unwrap()));
            kinds.push(by_library.iter().map(|one| one.kind.clone()).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(kinds, ["", "vfat", "gpt", "swap", "iso9660 vfat"]);
    }
}
