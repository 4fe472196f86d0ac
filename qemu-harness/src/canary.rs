//! The canary: a small disk with a file system and known content that nobody may write to.

use std::io::{self, Cursor, Write as _};
use std::path::Path;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::disk_image::sha256_of;
use crate::error::{HarnessError, file_error};

/// Size of the disk.
pub const SIZE: u64 = 16 << 20;

/// Writes the canary to `path` and returns its SHA-256. The bytes are the same every time.
pub fn create(path: &Path) -> Result<String, HarnessError> {
    let bytes = content().map_err(file_error("could not make the canary", path))?;
    std::fs::write(path, bytes).map_err(file_error("could not write", path))?;
    sha256_of(path)
}

fn content() -> io::Result<Vec<u8>> {
    let mut bytes = Cursor::new(vec![0; SIZE as usize]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .volume_id(0xca4a_4711)
        .volume_label(*b"PHOTOS     ");
    fatfs::format_volume(&mut bytes, options)?;
    // fatfs would write the time of day into directory entries: known bytes stand after the
    // file system's own structures instead, where any stray write would show just as well.
    FileSystem::new(&mut bytes, FsOptions::new())?.unmount()?;
    let mut bytes = bytes.into_inner();
    let start = bytes.len() / 2;
    let mut state = 0x2545_f491_u32;
    let mut tail = &mut bytes[start..];
    while !tail.is_empty() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let count = tail.len().min(4);
        tail.write_all(&state.to_le_bytes()[..count])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_is_the_same_every_time_and_carries_a_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let first = create(&directory.path().join("a")).unwrap();
        assert_eq!(first, create(&directory.path().join("b")).unwrap());
        let mut bytes = content().unwrap();
        let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "PHOTOS");
    }
}
