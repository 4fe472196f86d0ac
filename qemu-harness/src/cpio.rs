//! Writing cpio archives (newc), the format of an initramfs.

use std::io::{self, Write};

/// Writes entries one by one; [`Writer::finish`] writes the trailer.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    next: u32,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, next: 1 }
    }

    /// A directory, mode 0755.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, 0o040_755, &[], (0, 0))
    }

    /// A file with its permission bits.
    pub fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, 0o100_000 | permissions, content, (0, 0))
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, 0o020_600, &[], (major, minor))
    }

    /// Writes the trailer and returns what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        Ok(self.out)
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        content: &[u8],
        device: (u32, u32),
    ) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let (major, minor) = device;
        let fields = [self.next, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.next += 1;
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.pad(110 + name.len() + 1, 1)?;
        self.out.write_all(content)?;
        self.pad(content.len(), 0)
    }

    fn pad(&mut self, length: usize, terminator: usize) -> io::Result<()> {
        let count = length.next_multiple_of(4) - length + terminator;
        self.out.write_all(&[0; 4][..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_starts_at_a_multiple_of_four() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("dev").unwrap();
        writer.file("init", 0o755, b"hello").unwrap();
        writer.device("dev/console", 5, 1).unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<_> =
            (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"070701")).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
    }
}
