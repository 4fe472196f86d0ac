//! btrfs-progs, and what a member says about its file system.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Makes a file system over the members; everything on them is lost.
pub fn make(
    members: &[PathBuf],
    label: &str,
    fsid: &str,
    data: &str,
    metadata: &str,
) -> Result<(), CommandError> {
    Command::new("mkfs.btrfs")
        .args(["-q", "-f", "-K", "-L", label, "-U", fsid, "-d", data, "-m", metadata])
        .args(members)
        .run()
}

/// Loads the module and tells it of every member that is present.
pub fn scan() -> Result<(), CommandError> {
    Command::new("modprobe").arg("btrfs").run()?;
    Command::new("btrfs").args(["device", "scan"]).run()
}

/// Makes the kernel forget every member that is not mounted.
pub fn forget() -> Result<(), CommandError> {
    Command::new("btrfs").args(["device", "scan", "--forget"]).run()
}

/// Creates a subvolume.
pub fn create_subvolume(path: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "create"]).arg(path).run()
}

/// Makes a read-only snapshot of the subvolume `from`.
pub fn snapshot_read_only(from: &Path, to: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "snapshot", "-r"]).arg(from).arg(to).run()
}

/// Deletes a subvolume or snapshot.
pub fn delete_subvolume(path: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "delete"]).arg(path).run()
}

/// What only one may do at a time waits for its turn: a balance that was cut off goes on by itself
/// when the file system is mounted again.
const IN_TURN: &str = "--enqueue";

/// Adds a blank device to a mounted file system.
pub fn add_device(device: &Path, mount: &Path) -> Result<(), CommandError> {
    // Without a discard of the whole device: it is blank, and large ones take long.
    Command::new("btrfs").args(["device", "add", "-K", IN_TURN]).arg(device).arg(mount).run()
}

/// Moves everything off a device and takes it out; `missing` takes out one that is not there.
pub fn remove_device(device: &str, mount: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["device", "remove", IN_TURN, device]).arg(mount).run()
}

/// Makes every chunk that is not RAID1 a RAID1 chunk.
pub fn convert_to_raid1(mount: &Path) -> Result<(), CommandError> {
    let filters = ["-dconvert=raid1,soft", "-mconvert=raid1,soft"];
    Command::new("btrfs").args(["balance", "start", IN_TURN]).args(filters).arg(mount).run()
}

/// Reads everything and repairs what one copy has wrong; returns when it is done.
pub fn scrub(mount: &Path) -> Result<String, CommandError> {
    Command::new("btrfs").args(["scrub", "start", "-B"]).arg(mount).read()
}

/// How many errors the devices of a mounted file system have counted, all kinds together.
pub fn errors(mount: &Path) -> Result<u64, CommandError> {
    let text = Command::new("btrfs").args(["device", "stats"]).arg(mount).read()?;
    Ok(counted(&text))
}

/// The numbers of lines such as `[/dev/mapper/a].write_io_errs    3`.
fn counted(text: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
    numbers.fold(0, u64::saturating_add)
}

/// What a member's superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// File system id, with hyphens, lower case.
    pub fsid: String,
    /// Raised with every commit: a member that was away has an older one.
    pub generation: u64,
    /// How many devices the file system has.
    pub devices: u64,
}

impl Superblock {
    /// Where the first copy stands, and how much of it is read.
    const START: u64 = 64 << 10;
    const LENGTH: usize = 0x90;

    /// Reads the superblock of a device; `None` when it has none.
    pub fn read(device: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(device)?;
        file.seek(SeekFrom::Start(Self::START))?;
        let mut bytes = Vec::new();
        file.take(Self::LENGTH as u64).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            bytes.get(at..at + 8)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
        };
        if bytes.get(0x40..0x48)? != b"_BHRfS_M" {
            return None;
        }
        let mut fsid = String::new();
        for (index, byte) in bytes.get(0x20..0x30)?.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                fsid.push('-');
            }
            fsid.push_str(&format!("{byte:02x}"));
        }
        Some(Self { fsid, generation: number(0x48)?, devices: number(0x88)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_all_devices_are_counted() {
        let text = "[/dev/mapper/a].write_io_errs    0\n[/dev/mapper/b].read_io_errs     2\n\
                    [/dev/mapper/b].corruption_errs  1\n";
        assert_eq!(counted(text), 3);
    }

    #[test]
    fn a_superblock_is_found_where_the_format_has_it() {
        let mut bytes = vec![0; Superblock::LENGTH];
        assert_eq!(Superblock::parse(&bytes), None);
        bytes[0x20..0x30].copy_from_slice(&[
            0x0f, 0x2a, 0x7c, 0x54, 0x9f, 0x0c, 0x5a, 0x5b, 0x8a, 0x6e, 0x3f, 0x7d, 0x1c, 0x2b,
            0x4a, 0x59,
        ]);
        bytes[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        bytes[0x48] = 7;
        bytes[0x88] = 3;
        let fsid = "0f2a7c54-9f0c-5a5b-8a6e-3f7d1c2b4a59".to_owned();
        assert_eq!(Superblock::parse(&bytes), Some(Superblock { fsid, generation: 7, devices: 3 }));
        assert_eq!(Superblock::parse(&bytes[..0x88]), None);
    }
}
