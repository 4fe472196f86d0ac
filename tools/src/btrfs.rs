//! btrfs-progs, and what a member says about its file system.

mod superblock;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};
pub use superblock::{COPIES, LENGTH, Renaming, Superblock};

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

/// Loads the module and tells it of these members: looking at every device of the machine for more
/// takes longer than a file system takes to be made.
pub fn scan(members: &[PathBuf]) -> Result<(), CommandError> {
    if !is_loaded() {
        Command::new("modprobe").arg("btrfs").run()?;
    }
    Command::new("btrfs").args(["device", "scan"]).args(members).run()
}

fn is_loaded() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.split_whitespace().any(|word| word == "btrfs")
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

/// Lets a mounted file system of one device use all of that device.
pub fn grow(mount: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["filesystem", "resize", "max"]).arg(mount).run()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_all_devices_are_counted() {
        let text = "[/dev/mapper/a].write_io_errs    0\n[/dev/mapper/b].read_io_errs     2\n\
                    [/dev/mapper/b].corruption_errs  1\n";
        assert_eq!(counted(text), 3);
    }
}
