//! Reading what is on the disk, and not what the kernel remembers of it.
//!
//! A file that was just written is read back from the page cache, whatever became of it on the disk.
//! `posix_fadvise` only asks for that to be forgotten, and leaves the file system's own idea of where
//! the file lies. So the block device is read, past the cache (`O_DIRECT`, `open(2)`): it gives what a
//! firmware would read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise};
use zeroize::Zeroizing;

/// What offsets, lengths and memory are aligned to: the largest logical sector there is.
const ALIGNED: usize = 4096;
/// How much is read at once. A file's clusters and the table that lists them are read in turns.
const WINDOW: usize = 64 << 10;
/// How many such pieces are kept.
const WINDOWS: usize = 8;
/// How many pieces may be read of one volume, 8 GiB: all that a machine boots by is far less, though
/// its clusters may lie anywhere.
const LOADS: u32 = 1 << 17;
/// How often anything may be read of one. A reader of FAT asks for a few bytes at a time.
const READS: u32 = 1 << 24;

/// A block device, or an image in a file, that is read past the cache. It writes nothing.
#[derive(Debug)]
pub struct Direct {
    file: File,
    size: u64,
    position: u64,
    /// How many pieces may still be read of the disk: a damaged volume can lead round in circles.
    loads: u32,
    /// How often anything may still be read.
    reads: u32,
    /// The newest last.
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    start: u64,
    /// A stick holds keys.
    bytes: Zeroizing<Vec<u8>>,
    /// Where in `bytes` the content begins, so that it is aligned in memory, and how long it is.
    from: usize,
    length: usize,
}

impl Direct {
    /// Opens it. A file system that knows no direct reads (an image on a tmpfs) is asked to forget
    /// what it remembers instead.
    pub fn open(path: &Path) -> io::Result<Self> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let mut file = match OpenOptions::new().read(true).custom_flags(direct).open(path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let file = File::open(path)?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
                file
            }
            opened => opened?,
        };
        let size = file.seek(SeekFrom::End(0))?;
        let windows = Vec::new();
        Ok(Self { file, size, position: 0, loads: LOADS, reads: READS, windows })
    }

    fn window(&mut self, start: u64) -> io::Result<&Window> {
        if let Some(place) = self.windows.iter().position(|window| window.start == start) {
            let window = self.windows.remove(place);
            self.windows.push(window);
        } else {
            self.loads = self.loads.checked_sub(1).ok_or_else(no_end)?;
            let mut window = if self.windows.len() < WINDOWS {
                let bytes = Zeroizing::new(vec![0; WINDOW + ALIGNED]);
                let from = bytes.as_ptr().align_offset(ALIGNED).min(ALIGNED);
                Window { start, bytes, from, length: 0 }
            } else {
                self.windows.remove(0)
            };
            let (from, end) = (window.from, window.from + WINDOW);
            let into = window.bytes.get_mut(from..end).ok_or(io::ErrorKind::InvalidData)?;
            (window.start, window.length) = (start, read_full(&self.file, into, start)?);
            self.windows.push(window);
        }
        self.windows.last().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn no_end() -> io::Error {
    io::Error::other("the volume is damaged: it has no end")
}

fn read_full(file: &File, into: &mut [u8], start: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, start + done as u64) {
            // Only the end is read in a length that is not aligned.
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !done.is_multiple_of(ALIGNED) {
            break;
        }
    }
    Ok(done)
}

impl Read for Direct {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let start = self.position - self.position % WINDOW as u64;
        let offset = usize::try_from(self.position - start).map_err(io::Error::other)?;
        self.reads = self.reads.checked_sub(1).ok_or_else(no_end)?;
        let window = self.window(start)?;
        let bytes = window.bytes.get(window.from + offset..window.from + window.length);
        let bytes = bytes.unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Direct {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Readers of file systems want something that could be written; this cannot.
impl Write for Direct {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t45_what_is_read_past_the_cache_is_what_stands_there_and_cannot_be_written() {
        let mut image = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..3 * WINDOW + 5000).map(|at| (at / 7 % 251) as u8).collect();
        image.write_all(&content).unwrap();
        image.as_file().sync_all().unwrap();
        let mut direct = Direct::open(image.path()).unwrap();
        let mut all = Vec::new();
        direct.read_to_end(&mut all).unwrap();
        assert!(all == content);
        for at in [0, 4097, WINDOW - 3, content.len() - 9] {
            let mut piece = [0; 9];
            direct.seek(SeekFrom::Start(at as u64)).unwrap();
            direct.read_exact(&mut piece).unwrap();
            assert_eq!(piece, content[at..at + 9], "at {at}");
        }
        assert!(direct.read(&mut [0; 4]).unwrap() == 0 || direct.position < direct.size);
        assert!(direct.write(b"x").is_err());
    }

    /// A volume of terabytes whose directory leads into itself would be read for days.
    #[test]
    fn t51_what_leads_round_in_circles_comes_to_an_end_however_large_the_disk_is() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(1 << 42).unwrap();
        let mut direct = Direct::open(image.path()).unwrap();
        assert_eq!((direct.loads, direct.reads), (LOADS, READS));
        let round = |direct: &mut Direct, at: u64| {
            direct.seek(SeekFrom::Start(at * WINDOW as u64)).unwrap();
            direct.read(&mut [0; 2])
        };
        direct.loads = 20;
        let ended = (0..100).find(|at| round(&mut direct, *at).is_err());
        assert_eq!(ended, Some(20), "another place each time");
        let mut direct = Direct::open(image.path()).unwrap();
        direct.reads = 50;
        let ended = (0..100).find(|_| round(&mut direct, 0).is_err());
        assert_eq!(ended, Some(50), "the same place each time");
    }
}
