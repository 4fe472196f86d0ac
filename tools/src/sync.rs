//! Making what was written last.

use std::fs::File;
use std::io;
use std::path::Path;

/// Flushes the whole file system that `path` is on.
pub fn file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    rustix::fs::syncfs(&file)?;
    Ok(())
}

/// Flushes a directory, so that a rename in it lasts.
pub fn directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
