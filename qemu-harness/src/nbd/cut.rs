//! The disks as a power cut leaves them.
//!
//! A disk keeps what a completed flush covered and what was written with FUA. Whatever was
//! written after its last flush may be there, or not, or be torn: a seed decides.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use super::log::{Action, Entry, WriteLog};
use super::server::clear;

/// A moment at which the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// How many entries of the log were done.
    pub position: usize,
    /// What becomes of writes that no flush covered.
    pub unflushed: Unflushed,
}

/// What becomes of writes that no flush covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unflushed {
    /// All are there: a disk without a cache.
    Kept,
    /// None is there: a disk that writes as late as it may.
    Lost,
    /// Each is kept, lost or torn, as a seed has it.
    Random(u64),
}

/// A part of an entry that is on the disk afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Index of the entry.
    pub entry: usize,
    /// Which of its bytes, relative to its start.
    pub bytes: Range<u64>,
}

/// What is left of the log's entries, in order.
pub fn survivors(entries: &[Entry], cut: Cut) -> Vec<Survivor> {
    let done = entries.get(..cut.position).unwrap_or(entries);
    let disks = done.iter().map(|entry| usize::from(entry.disk) + 1).max().unwrap_or(0);
    let mut flushed = vec![0; disks];
    for (index, entry) in done.iter().enumerate() {
        if entry.action == Action::Flush
            && let Some(last) = flushed.get_mut(usize::from(entry.disk))
        {
            *last = index;
        }
    }
    let mut left = Vec::new();
    for (index, entry) in done.iter().enumerate() {
        if entry.action == Action::Flush {
            continue;
        }
        let durable =
            entry.fua || flushed.get(usize::from(entry.disk)).is_some_and(|last| index < *last);
        let unflushed = if durable { Unflushed::Kept } else { cut.unflushed };
        left.extend(kept(entry, index, unflushed).map(|bytes| Survivor { entry: index, bytes }));
    }
    left
}

fn kept(entry: &Entry, index: usize, unflushed: Unflushed) -> impl Iterator<Item = Range<u64>> {
    let whole = 0..entry.length;
    let pieces = match unflushed {
        Unflushed::Kept => vec![whole],
        Unflushed::Lost => Vec::new(),
        Unflushed::Random(seed) => {
            let mut dice = Dice(seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            match dice.roll() % 3 {
                0 => vec![whole],
                1 => Vec::new(),
                _ => torn(entry, &mut dice),
            }
        }
    };
    pieces.into_iter().filter(|bytes| !bytes.is_empty())
}

/// A disk writes sectors whole, and no more than that is certain.
fn torn(entry: &Entry, dice: &mut Dice) -> Vec<Range<u64>> {
    let sector = if dice.roll().is_multiple_of(2) { 512 } else { 4096 };
    // A trim of a whole disk is not diced sector by sector.
    let step = sector.max((entry.length / 1024).next_multiple_of(sector));
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < entry.length {
        let end =
            ((entry.offset + start + 1).next_multiple_of(step) - entry.offset).min(entry.length);
        if dice.roll().is_multiple_of(2) {
            pieces.push(start..end);
        }
        start = end;
    }
    pieces
}

/// A stream of numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl WriteLog {
    /// Writes what a cut leaves into `disks`, which hold what stood there before the first entry.
    pub fn replay(&self, cut: Cut, disks: &[File]) -> io::Result<()> {
        survivors(self.entries(), cut).iter().try_for_each(|survivor| self.apply(survivor, disks))
    }

    /// Writes a part of an entry.
    pub fn apply(&self, survivor: &Survivor, disks: &[File]) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such entry or disk");
        let entry = self.entries().get(survivor.entry).ok_or_else(missing)?;
        self.apply_to(survivor, disks.get(usize::from(entry.disk)).ok_or_else(missing)?)
    }

    /// Writes a part of an entry into the image of its disk.
    pub fn apply_to(&self, survivor: &Survivor, disk: &File) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such entry");
        let entry = self.entries().get(survivor.entry).ok_or_else(missing)?;
        let (start, length) =
            (survivor.bytes.start, survivor.bytes.end.saturating_sub(survivor.bytes.start));
        match entry.action {
            Action::Write { data } => {
                let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                self.read(data + start, &mut piece)?;
                disk.write_all_at(&piece, entry.offset + start)
            }
            Action::Zero | Action::Trim => clear(disk, entry.offset + start, length),
            Action::Flush => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: u16, offset: u64, length: u64) -> Entry {
        Entry { disk, action: Action::Write { data: 0 }, offset, length, fua: false, at: 0 }
    }

    fn flush(disk: u16) -> Entry {
        Entry { disk, action: Action::Flush, offset: 0, length: 0, fua: false, at: 0 }
    }

    fn left(entries: &[Entry], position: usize, unflushed: Unflushed) -> Vec<usize> {
        let cut = Cut { position, unflushed };
        survivors(entries, cut).into_iter().map(|survivor| survivor.entry).collect()
    }

    #[test]
    fn f1_a_flush_makes_durable_what_its_own_disk_was_given_before() {
        let entries = [
            write(0, 0, 512),
            write(1, 0, 512),
            flush(0),
            write(0, 512, 512),
            flush(1),
            write(1, 512, 512),
        ];
        assert_eq!(left(&entries, 6, Unflushed::Lost), [0, 1]);
        assert_eq!(left(&entries, 4, Unflushed::Lost), [0], "disk 1 was not flushed yet");
        assert_eq!(left(&entries, 2, Unflushed::Lost), [] as [usize; 0]);
        assert_eq!(left(&entries, 4, Unflushed::Kept), [0, 1, 3], "the future has not happened");
    }

    #[test]
    fn f1_fua_is_durable_by_itself() {
        let mut entries = [write(0, 0, 512), write(0, 512, 512)];
        entries[1].fua = true;
        assert_eq!(left(&entries, 2, Unflushed::Lost), [1]);
    }

    #[test]
    fn f1_the_seed_decides_what_is_lost_and_tears_along_sectors() {
        let entries: Vec<Entry> = (0..300).map(|n| write(0, n * 16384 + 512, 16384)).collect();
        let cut =
            |seed| survivors(&entries, Cut { position: 300, unflushed: Unflushed::Random(seed) });
        assert_eq!(cut(7), cut(7));
        assert_ne!(cut(7), cut(8));
        let whole = cut(7).iter().filter(|survivor| survivor.bytes == (0..16384)).count();
        let seen: std::collections::BTreeSet<usize> = cut(7).iter().map(|s| s.entry).collect();
        assert!((60..140).contains(&whole), "{whole} of 300 kept whole");
        assert!((60..140).contains(&(300 - seen.len())), "{} of 300 lost", 300 - seen.len());
        for survivor in cut(7) {
            let start = entries[survivor.entry].offset;
            assert_eq!((start + survivor.bytes.start) % 512, 0);
            assert_eq!((start + survivor.bytes.end) % 512, 0);
        }
    }

    #[test]
    fn f1_a_torn_trim_of_a_large_disk_is_cheap_and_within_its_bounds() {
        let mut entry = write(0, 0, 4 << 40);
        entry.action = Action::Trim;
        for seed in 0..20 {
            let cut = Cut { position: 1, unflushed: Unflushed::Random(seed) };
            let left = survivors(std::slice::from_ref(&entry), cut);
            assert!(left.len() <= 1025, "{}", left.len());
            assert!(left.iter().all(|survivor| survivor.bytes.end <= entry.length));
        }
    }
}
