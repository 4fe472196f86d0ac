//! btrfs-progs.

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
