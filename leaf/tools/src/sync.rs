//! Making what was written last.

use std::fs::File;
use std::io;
use std::path::Path;

/// Flushes the whole file system that `path` is on, and the cache of its disk: `syncfs` alone leaves
/// that to the file system, and vfat does nothing about it (it has no `sync_fs`; its `fsync` does).
pub fn file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    rustix::fs::syncfs(&file)?;
    file.sync_all()
}

/// Flushes a directory, so that a rename in it lasts.
pub fn directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
