//! Files that are either as before or complete.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", .path.display())]
pub struct WriteError {
    /// The file that was to be replaced; it is as before, or complete.
    pub path: PathBuf,
    /// What the kernel said: when it was written, flushed or renamed.
    #[source]
    pub source: io::Error,
}

/// Replaces `path` by `content`: temporary file, fsync, rename, fsync of the directory.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<(), WriteError> {
    try_write(path, content.as_bytes(), mode)
        .map_err(|source| WriteError { path: path.to_owned(), source })
}

/// As [`write`], whatever the bytes are.
pub fn write_bytes(path: &Path, content: &[u8], mode: u32) -> Result<(), WriteError> {
    try_write(path, content, mode).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// As [`write`], for root alone.
pub fn write_secret(path: &Path, content: &Secret) -> Result<(), WriteError> {
    try_write(path, content.expose(), 0o600)
        .map_err(|source| WriteError { path: path.to_owned(), source })
}

fn try_write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn t40_a_disk_that_is_full_costs_no_file_and_keeps_no_half_of_one() {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "full"]).arg(place.path());
        let mounted = mount.output().is_ok_and(|said| said.status.success());
        if !mounted {
            assert!(!rustix::process::geteuid().is_root(), "root can mount a file system");
            eprintln!("NOT TESTED: only root can mount a file system");
            return;
        }
        let path = place.path().join("record.json");
        write(&path, "as it was", 0o644).unwrap();
        let result = write(&path, &"x".repeat(1 << 20), 0o644);
        let left = fs::read_to_string(&path);
        let names = fs::read_dir(place.path()).map(Iterator::count);
        Command::new("umount").arg(place.path()).status().unwrap();
        assert_eq!(result.unwrap_err().source.kind(), io::ErrorKind::StorageFull);
        assert_eq!((left.unwrap().as_str(), names.unwrap()), ("as it was", 1));
    }
}
