//! Files that are either as before or complete.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_tools::secret::Secret;

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", .path.display())]
pub struct WriteError {
    /// Which.
    pub path: PathBuf,
    /// Why.
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
