//! Cuts at every write to an ESP: one recorded log of the real kernel's vfat, replayed on this machine to
//! every prefix, where the volume is read without being booted.

pub mod fat;
pub mod guest;
pub mod replay;

use std::io;
use std::path::Path;

/// What the guest says last.
pub const DONE: &str = "WRITER DONE";
/// Bytes of a mark.
pub const SECTOR: usize = 512;

/// Something that began, or is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What: `rebuild`.
    pub step: String,
    /// To which disk: `esp`.
    pub disk: String,
    /// Whether it is done.
    pub done: bool,
}

impl Mark {
    /// As it stands in a sector.
    pub fn text(&self) -> String {
        let word = if self.done { "done" } else { "begun" };
        format!("{word}:{}:{}\n", self.disk, self.step)
    }

    /// Out of a sector.
    pub fn parse(sector: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(sector.split(|byte| *byte == b'\n').next()?).ok()?;
        let mut parts = text.splitn(3, ':');
        let (word, disk, step) = (parts.next()?, parts.next()?, parts.next()?);
        (word == "done" || word == "begun").then(|| Self {
            step: step.to_owned(),
            disk: disk.to_owned(),
            done: word == "done",
        })
    }
}

/// Bytes that are free on a volume.
pub fn free(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let mark = Mark { step: "bring into step".into(), disk: "esp".into(), done: true };
        let mut sector = mark.text().into_bytes();
        sector.resize(SECTOR, 0);
        assert_eq!(Mark::parse(&sector), Some(mark));
        assert_eq!(Mark::parse(&[0; SECTOR]), None);
    }
}
