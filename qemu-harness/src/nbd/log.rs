//! The one log of everything that was written to the disks of a machine.
//!
//! A file of records, each with the data of its write behind it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use super::protocol::invalid;

/// Bytes of a record: action, FUA, disk, time, offset, length.
const RECORD: usize = 24;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A write; its bytes stand in the log's file.
    Write {
        /// Where they stand there.
        data: u64,
    },
    /// Zeros were written.
    Zero,
    /// The content was given up; it reads as zeros.
    Trim,
    /// Everything that was written to this disk before became durable.
    Flush,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Index of the disk among those served.
    pub disk: u16,
    /// What was done.
    pub action: Action,
    /// Where on the disk.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// Whether it was durable when it was answered.
    pub fua: bool,
    /// When, in milliseconds since the log began.
    pub at: u32,
}

/// Writes a log.
#[derive(Debug)]
pub(super) struct Writer {
    file: BufWriter<File>,
    entries: usize,
    begun: Instant,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self { file, entries: 0, begun: Instant::now() })
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Notes an entry; `data` is what a write wrote.
    pub(super) fn note(
        &mut self,
        disk: u16,
        kind: Kind,
        fua: bool,
        (offset, length): (u64, u64),
        data: &[u8],
    ) -> io::Result<()> {
        let mut record = [0; RECORD];
        record[0] = kind as u8;
        record[1] = u8::from(fua);
        record[2..4].copy_from_slice(&disk.to_le_bytes());
        let at = u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        record[4..8].copy_from_slice(&at.to_le_bytes());
        record[8..16].copy_from_slice(&offset.to_le_bytes());
        record[16..].copy_from_slice(&length.to_le_bytes());
        self.file.write_all(&record)?;
        self.file.write_all(data)?;
        self.entries += 1;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The action as it stands in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Write = 1,
    Zero = 2,
    Trim = 3,
    Flush = 4,
}

/// A log that is complete.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

impl WriteLog {
    /// Opens what a server wrote.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let (mut entries, mut position) = (Vec::new(), 0);
        while position < end {
            let mut record = [0; RECORD];
            file.read_exact_at(&mut record, position)?;
            position += RECORD as u64;
            let entry = decode(&record, position)?;
            if let Action::Write { .. } = entry.action {
                position += entry.length;
            }
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// Everything, in the order it was done.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first entry at or after `from` that wrote `text`.
    pub fn find(&self, from: usize, text: &[u8]) -> io::Result<Option<usize>> {
        for (index, entry) in self.entries.iter().enumerate().skip(from) {
            let Action::Write { data } = entry.action else { continue };
            let mut bytes = vec![0; usize::try_from(entry.length).map_err(io::Error::other)?];
            self.read(data, &mut bytes)?;
            if bytes.windows(text.len()).any(|window| window == text) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The start of what the entry at `index` wrote; zeros when it wrote none.
    pub fn content(&self, index: usize, piece: &mut [u8]) -> io::Result<()> {
        match self.entries.get(index).map(|entry| entry.action) {
            Some(Action::Write { data }) => self.read(data, piece),
            _ => {
                piece.fill(0);
                Ok(())
            }
        }
    }

    /// A piece of what a write wrote.
    pub(super) fn read(&self, data: u64, piece: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(piece, data)
    }
}

fn decode(record: &[u8; RECORD], data: u64) -> io::Result<Entry> {
    let number = |range: std::ops::Range<usize>| {
        let mut bytes = [0; 8];
        bytes[..range.len()].copy_from_slice(&record[range]);
        u64::from_le_bytes(bytes)
    };
    let action = match record[0] {
        kind if kind == Kind::Write as u8 => Action::Write { data },
        kind if kind == Kind::Zero as u8 => Action::Zero,
        kind if kind == Kind::Trim as u8 => Action::Trim,
        kind if kind == Kind::Flush as u8 => Action::Flush,
        _ => return Err(invalid("a record of the log with an action that is none")),
    };
    let disk = u16::try_from(number(2..4)).map_err(io::Error::other)?;
    let (offset, length) = (number(8..16), number(16..24));
    let at = u32::try_from(number(4..8)).map_err(io::Error::other)?;
    Ok(Entry { disk, action, offset, length, fua: record[1] == 1, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_back_in_order_and_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = Writer::create(&path).unwrap();
        writer.note(1, Kind::Write, true, (512, 3), b"abc").unwrap();
        writer.note(0, Kind::Flush, false, (0, 0), b"").unwrap();
        writer.note(2, Kind::Trim, false, (4096, 1 << 40), b"").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.entries(), 3);
        let log = WriteLog::open(&path).unwrap();
        let [write, flush, trim] = log.entries() else { panic!("{:?}", log.entries()) };
        let Action::Write { data } = write.action else { panic!("{write:?}") };
        let mut piece = [0; 2];
        log.read(data + 1, &mut piece).unwrap();
        assert_eq!(log.find(0, b"bc").unwrap(), Some(0));
        assert_eq!((log.find(1, b"bc").unwrap(), log.find(0, b"cb").unwrap()), (None, None));
        assert!(write.at <= flush.at && flush.at <= trim.at);
        assert_eq!((&piece, write.disk, write.offset, write.fua), (b"bc", 1, 512, true));
        assert_eq!((flush.action, flush.disk), (Action::Flush, 0));
        assert_eq!((trim.action, trim.offset, trim.length), (Action::Trim, 4096, 1 << 40));
        std::fs::write(&path, [9; RECORD]).unwrap();
        assert!(WriteLog::open(&path).is_err());
    }
}
