//! A look of our own at what libblkid finds nothing on: all zero, or not.

use std::fs::File;
use std::io;
use std::path::Path;

use bedplate_model::facts::kind;
use bedplate_tools::{luks2, unfinished};

use super::probe::Finding;

/// What is looked at, at the beginning and at the end: what an installation clears of it.
const END: u64 = 1 << 20;
/// What is looked at, at the beginning of a whole disk. A table of the kind `dos` stands in the first
/// sector alone; when that is gone, the first partition still begins after 1 MiB, or after 4 MiB on cards
/// and sticks.
const FRONT: u64 = 8 << 20;

/// A disk, or a part of one.
pub struct Extent {
    file: File,
    start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Extent {
    /// A whole device; none when it cannot be opened.
    pub fn open(node: &Path, length: u64) -> Option<Self> {
        Some(Self { file: File::open(node).ok()?, start: 0, length })
    }

    /// A part of it.
    pub fn within(self, start: u64, length: u64) -> Self {
        Self { start, length, ..self }
    }

    /// Reads so many bytes at a place, fewer only at its end.
    pub fn read(&self, place: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(place)).unwrap_or(usize::MAX);
        luks2::read_at(&self.file, self.start.saturating_add(place), length.min(left))
    }
}

/// What is told of a device on which nothing was recognised; none when both ends are zero.
pub fn look(extent: &Extent, is_whole_disk: bool) -> Option<Finding> {
    let bytes = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
    let (end, length) = (END.min(extent.length), bytes(END));
    let both = extent
        .read(0, bytes(if is_whole_disk { FRONT } else { END }))
        .and_then(|first| Ok([first, extent.read(extent.length - end, length)?]));
    let Ok([first, last]) = both else { return Some(Finding::only(kind::UNREADABLE)) };
    if let Some(name) = unfinished::name(&first) {
        return Some(Finding { uuid: Some(name), ..Finding::only(kind::UNFINISHED) });
    }
    let blank = [first, last].iter().flatten().all(|byte| *byte == 0);
    (!blank).then(|| Finding::only(kind::UNKNOWN))
}

/// Where bcachefs keeps its superblock, and what of it stands where
/// (`fs/bcachefs/bcachefs_format.h`, `struct bch_sb`).
const BCACHEFS: (u64, usize) = (4096, 104);
const BCACHEFS_MAGIC: [u8; 16] = [
    0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81,
];

/// File systems that older versions of libblkid do not know: the same bytes give the same content,
/// whichever version looks.
pub fn unknown_to_libblkid(extent: &Extent, found: &[Finding]) -> Option<Finding> {
    const NAME: &str = "bcachefs";
    let (place, length) = BCACHEFS;
    let block = extent.read(place, length).ok()?;
    if found.iter().any(|one| one.kind == NAME) || block.get(24..40)? != BCACHEFS_MAGIC {
        return None;
    }
    let uuid = uuid(block.get(56..72)?);
    let label = block.get(72..104)?.split(|byte| *byte == 0).next()?;
    let label = (!label.is_empty()).then(|| String::from_utf8_lossy(label).into_owned());
    Some(Finding { kind: NAME.to_owned(), label, uuid: Some(uuid) })
}

/// Sixteen bytes as a UUID is written.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn t06_a_disk_that_lost_its_first_sector_is_not_blank_while_data_follows() {
        let size = 64 << 20;
        let look_at = |start: u64, is_whole_disk| {
            let image = tempfile::NamedTempFile::new().unwrap();
            image.as_file().set_len(size).unwrap();
            // Where the superblock of ext4 has its magic, in a partition that begins at `start`.
            image.as_file().write_all_at(b"\x53\xef", start + 1080).unwrap();
            look(&Extent::open(image.path(), size).unwrap(), is_whole_disk)
        };
        for start in [0, 63 * 512, 1 << 20, 4 << 20] {
            let found = look_at(start, true);
            assert_eq!(found, Some(Finding::only(kind::UNKNOWN)), "a partition at {start}");
        }
        // What an old partition leaves in a new one is not gone through.
        assert_eq!(look_at(1 << 20, false), None);
        assert_eq!(look_at(0, false), Some(Finding::only(kind::UNKNOWN)));
    }

    #[test]
    fn a_small_device_is_looked_at_as_far_as_it_goes() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(1000).unwrap();
        let extent = Extent::open(image.path(), 1000).unwrap();
        assert_eq!(look(&extent, true), None);
        image.as_file().write_all_at(b"x", 999).unwrap();
        assert_eq!(look(&extent, true), Some(Finding::only(kind::UNKNOWN)));
    }
}
