//! Archives in the `newc` format of cpio, as the kernel unpacks them into the initramfs.

use std::collections::BTreeSet;
use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_600;

/// An archive being written. Parent directories are made as they are needed.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive that is written to `out`.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory (without leading slash) and its parents.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.directories.contains(path) {
            return Ok(());
        }
        self.parent(path)?;
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, FILE | mode, content)
    }

    /// Adds a character device that only root may use.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.parent(path)?;
        self.header(path, DEVICE, 0, (major, minor))
    }

    /// Ends the archive and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        path.rsplit_once('/').map_or(Ok(()), |(parent, _)| self.directory(parent))
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, path.to_owned());
        let size = u32::try_from(content.len()).map_err(too_long)?;
        self.header(path, mode, size, (0, 0))?;
        self.out.write_all(content)?;
        self.pad(size)
    }

    /// Fields in the order of the kernel's `buffer-format.rst`: inode, mode, owner, group, links,
    /// time, size, device of the file, device it is, length of the name, checksum.
    fn header(
        &mut self,
        path: &str,
        mode: u32,
        size: u32,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, path.to_owned());
        let name = u32::try_from(path.len() + 1).map_err(too_long)?;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        self.inode += 1;
        write!(self.out, "070701{:08x}{mode:08x}{:08x}{:08x}", self.inode, 0, 0)?;
        write!(self.out, "{links:08x}{:08x}{size:08x}", 0)?;
        write!(self.out, "{:08x}{:08x}{major:08x}{minor:08x}{name:08x}{:08x}", 0, 0, 0)?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + name)
    }

    fn pad(&mut self, length: u32) -> io::Result<()> {
        let missing = length.next_multiple_of(4) - length;
        self.out.write_all(&[0; 3][..missing as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_padding_are_as_the_format_wants_them() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a/b", 0o555, b"12345").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        // Header and "a\0", padded to 112; then header and "a/b\0", padded to 116, and the content.
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[14..22], b"000041ed");
        assert_eq!(&bytes[112..118], b"070701");
        assert_eq!(&bytes[126..134], b"0000816d");
        assert_eq!(&bytes[166..174], b"00000005");
        assert_eq!(&bytes[222..226], b"a/b\0");
        assert_eq!(&bytes[228..236], b"12345\0\0\0");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
