//! What the kernel says of a device that is open.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use bedplate_facts::disks::read_one;
use bedplate_facts::roots::{Roots, number, text};
use bedplate_model::facts::DiskFacts;
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

/// `BLKGETDISKSEQ` of linux/fs.h, since Linux 5.15.
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);

/// A device that is open. As long as it is, the kernel gives its number to no other.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// Kernel name of the whole disk.
    pub disk: String,
    /// Its number, when it is a partition.
    pub partition: Option<u32>,
}

impl Held {
    /// What `file` is; none when it is no disk and no partition.
    pub fn of(roots: &Roots, file: &File) -> io::Result<Option<Self>> {
        let Some(device) = device_number(&file.metadata()?) else { return Ok(None) };
        let entry = fs::canonicalize(roots.sys.join("dev/block").join(device))?;
        let partition = number(&entry.join("partition")).and_then(|it| u32::try_from(it).ok());
        let disk = if partition.is_some() { entry.parent() } else { Some(entry.as_path()) };
        let name = disk.and_then(Path::file_name).and_then(|name| name.to_str());
        Ok(name.map(|name| Self { disk: name.to_owned(), partition }))
    }

    /// The whole disk as it is now. What can be asked of the open device itself, is.
    pub fn facts(&self, roots: &Roots, file: &File) -> Option<DiskFacts> {
        let mut facts = read_one(roots, &self.disk)?;
        facts.diskseq = sequence_of(file).or(facts.diskseq);
        Some(facts)
    }
}

/// `major:minor` of a block device.
pub fn device_number(found: &fs::Metadata) -> Option<String> {
    let device = found.rdev();
    let number = || format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    found.file_type().is_block_device().then(number)
}

/// The number of the whole disk under a name of `/dev/disk/by-id`, as sysfs writes it.
pub fn named(roots: &Roots, id: &str) -> Option<String> {
    device_number(&fs::metadata(roots.dev.join("disk/by-id").join(id)).ok()?)
}

/// The number of a whole disk by its kernel name.
pub fn number_of(roots: &Roots, disk: &str) -> Option<String> {
    text(&roots.sys.join("block").join(disk).join("dev"))
}

/// The sequence number of the disk behind an open device; an older kernel knows none.
fn sequence_of(file: &File) -> Option<u64> {
    // SAFETY: BLKGETDISKSEQ writes one u64, which is what the getter has room for.
    #[allow(unsafe_code)]
    let read = unsafe { ioctl(file, Getter::<BLKGETDISKSEQ, u64>::new()) };
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_no_disk() {
        let roots = Roots::identity();
        let null = File::open("/dev/null").unwrap();
        assert_eq!(Held::of(&roots, &null).unwrap(), None);
        assert_eq!(Held::of(&roots, &tempfile::tempfile().unwrap()).unwrap(), None);
        assert_eq!(sequence_of(&null), None);
    }
}
