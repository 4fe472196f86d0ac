//! Block devices as sysfs lists them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};
use crate::signature::Signature;

/// Where the kernel lists them.
const CLASS: &str = "/sys/class/block";

/// A whole disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Kernel name: `nvme0n1p2`. Not stable from boot to boot.
    pub name: String,
    /// Device node.
    pub node: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Number within its disk; `None` for a whole disk.
    pub partition: Option<u32>,
    /// Raised by the kernel each time a medium comes: tells a stick put back from the same one.
    pub sequence: u64,
}

impl Block {
    /// What the device says about itself; an unreadable device says nothing.
    pub fn signature(&self) -> Option<Signature> {
        Signature::read(&self.node).ok().flatten()
    }
}

/// Makes the kernel refuse, or allow again, to write to a whole disk or a partition.
pub fn set_read_only(node: &Path, read_only: bool) -> Result<(), CommandError> {
    let flag = if read_only { "--setro" } else { "--setrw" };
    Command::new("blockdev").arg(flag).arg(node).run()
}

/// Whole disks and partitions with a medium in them, by name; no loop, RAM, floppy or
/// device-mapper devices.
pub fn disks() -> io::Result<Vec<Block>> {
    list(Path::new(CLASS))
}

fn list(class: &Path) -> io::Result<Vec<Block>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(class)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_virtual(&name) {
            continue;
        }
        // One that vanishes while we look is one that is not there.
        found.extend(describe(&entry.path(), name));
    }
    found.sort();
    Ok(found)
}

fn is_virtual(name: &str) -> bool {
    ["loop", "ram", "zram", "dm-", "fd", "md"].iter().any(|prefix| name.starts_with(prefix))
}

fn describe(directory: &Path, name: String) -> Option<Block> {
    let sectors: u64 = number(&directory.join("size"))?;
    if sectors == 0 {
        return None;
    }
    let partition = number(&directory.join("partition"));
    let disk = if partition.is_some() { directory.join("..") } else { directory.to_owned() };
    // `..` of a link in sysfs is the parent of what it points to: the disk of a partition.
    let sequence = number(&disk.join("diskseq")).unwrap_or(0);
    let node = Path::new("/dev").join(name.replace('!', "/"));
    Some(Block { node, name, size: sectors * 512, partition, sequence })
}

fn number<T: std::str::FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(class: &Path, name: &str, files: &[(&str, &str)]) {
        let directory = class.join(name);
        fs::create_dir_all(&directory).unwrap();
        for (file, content) in files {
            fs::write(directory.join(file), content).unwrap();
        }
    }

    #[test]
    fn disks_and_partitions_are_listed_and_virtual_devices_are_not() {
        let class = tempfile::tempdir().unwrap();
        device(class.path(), "sda", &[("size", "2048\n"), ("diskseq", "7\n")]);
        device(class.path(), "sda1", &[("size", "1024\n"), ("partition", "1\n")]);
        device(class.path(), "sr0", &[("size", "0\n")]);
        device(class.path(), "loop0", &[("size", "8\n")]);
        device(class.path(), "dm-0", &[("size", "8\n")]);
        let found = list(class.path()).unwrap();
        let names: Vec<_> = found.iter().map(|block| block.name.as_str()).collect();
        assert_eq!(names, ["sda", "sda1"]);
        assert_eq!((found[0].size, found[0].sequence), (1 << 20, 7));
        assert_eq!(found[1].partition, Some(1));
        assert_eq!(found[1].node, Path::new("/dev/sda1"));
    }
}
