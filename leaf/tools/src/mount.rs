//! Mounting, moving and unmounting file systems.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};
use rustix::mount::{self as sys, MountFlags, UnmountFlags};

/// A mount that could not be made, moved or removed.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {}", .target.display())]
pub struct MountError {
    /// What was attempted, with its source and a preposition.
    operation: String,
    /// The place to mount or move to, or the mount to change or remove.
    target: PathBuf,
    /// What the kernel said when it was mounted, bound, moved or unmounted.
    #[source]
    source: io::Error,
}

impl MountError {
    /// The kind of the system's error, for those who can go on.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Whether a mount can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It cannot.
    ReadOnly,
    /// It can.
    ReadWrite,
}

/// A file system to mount.
#[derive(Debug, Clone, Copy)]
pub struct Mount<'a> {
    /// Device node, or a name for file systems without one.
    pub source: &'a str,
    /// Directory that exists.
    pub target: &'a Path,
    /// Type of file system.
    pub kind: &'a str,
    /// Read-only or not.
    pub access: Access,
    /// Options of the file system, comma-separated; may be empty.
    pub options: &'a str,
}

impl Mount<'_> {
    /// Mounts it.
    pub fn mount(&self) -> Result<(), MountError> {
        let flags = match self.access {
            Access::ReadOnly => MountFlags::RDONLY,
            Access::ReadWrite => MountFlags::empty(),
        };
        self.mount_with(flags)
    }

    /// Mounts it so that nothing on it can be executed, be a device, or raise privileges.
    pub fn mount_restricted(&self) -> Result<(), MountError> {
        let read_only = match self.access {
            Access::ReadOnly => MountFlags::RDONLY,
            Access::ReadWrite => MountFlags::empty(),
        };
        self.mount_with(read_only | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC)
    }

    fn mount_with(&self, flags: MountFlags) -> Result<(), MountError> {
        let operation = || format!("mount {} ({}) at", self.source, self.kind);
        let options = CString::new(self.options)
            .map_err(|error| fail(operation(), self.target, error.into()))?;
        sys::mount(self.source, self.target, self.kind, flags, options.as_c_str())
            .map_err(|errno| fail(operation(), self.target, errno.into()))
    }
}

/// A file system in a file, mounted read-only by mount(8), which finds a loop device for it and
/// lets go of that when it is unmounted.
#[derive(Debug, Clone, Copy)]
pub struct ImageMount<'a> {
    /// The file.
    pub file: &'a Path,
    /// Directory that exists.
    pub target: &'a Path,
    /// Type of file system.
    pub kind: &'a str,
    /// Options of the file system, comma-separated; may be empty.
    pub options: &'a str,
}

impl ImageMount<'_> {
    /// Mounts it; nothing on it can be executed, be a device, or raise privileges.
    pub fn mount(&self) -> Result<(), CommandError> {
        let mut options = "ro,loop,nosuid,nodev,noexec".to_owned();
        if !self.options.is_empty() {
            options = format!("{options},{}", self.options);
        }
        let mut command = Command::new("mount");
        command.args(["-t", self.kind, "-o", &options, "--"]);
        command.arg(self.file).arg(self.target).run()
    }
}

/// Shows the directory or file `source` at `target` too.
pub fn bind(source: &Path, target: &Path) -> Result<(), MountError> {
    sys::mount_bind(source, target)
        .map_err(|errno| fail(format!("bind {} at", source.display()), target, errno.into()))
}

/// As [`bind`], with everything mounted below `source`.
pub fn bind_recursive(source: &Path, target: &Path) -> Result<(), MountError> {
    sys::mount_bind_recursive(source, target)
        .map_err(|errno| fail(format!("bind {} at", source.display()), target, errno.into()))
}

/// Makes a bind mount read-only.
pub fn protect(target: &Path) -> Result<(), MountError> {
    sys::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
        .map_err(|errno| fail("make read-only".to_owned(), target, errno.into()))
}

/// Moves the mount at `source` to `target`.
pub fn move_mount(source: &Path, target: &Path) -> Result<(), MountError> {
    sys::mount_move(source, target)
        .map_err(|errno| fail(format!("move {} to", source.display()), target, errno.into()))
}

/// Unmounts what is at `target`; fails while it is in use.
pub fn unmount(target: &Path) -> Result<(), MountError> {
    sys::unmount(target, UnmountFlags::empty())
        .map_err(|errno| fail("unmount".to_owned(), target, errno.into()))
}

fn fail(operation: String, target: &Path, source: io::Error) -> MountError {
    MountError { operation, target: target.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_where() {
        let mount = Mount {
            source: "/dev/nothing",
            target: Path::new("/nonexistent"),
            kind: "btrfs",
            access: Access::ReadOnly,
            options: "subvol=root",
        };
        let error = mount.mount().unwrap_err();
        assert_eq!(error.to_string(), "could not mount /dev/nothing (btrfs) at /nonexistent");
        assert!(unmount(Path::new("/nonexistent")).is_err());
    }
}
