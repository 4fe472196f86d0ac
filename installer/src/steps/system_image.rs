//! Writing the medium's file system image to the volume of the OS disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use bedplate_formats::system_image::{DESCRIPTION, FILE, SystemImage};
use bedplate_model::plan::Holder;
use bedplate_tools::btrfs::{COPIES, LENGTH, Renaming};

use crate::error::{During as _, StepError};
use crate::meter::Meter;
use bedplate_engine::parallel::{movers, try_each};

/// Where the images of the medium are mounted by name.
const IMAGES: &str = "/run/bedplate";

/// Bytes read and written at once.
const CHUNK: u64 = 1 << 20;

/// What direct writes want of an address in memory: the largest sector there is, in bytes.
const ALIGNMENT: usize = 4096;

/// The file system of the medium.
pub struct Source {
    image: SystemImage,
    file: File,
}

/// Bytes of the image that are moved at once.
struct Piece {
    start: u64,
    length: usize,
}

impl Source {
    /// The one in this image of the booted medium.
    pub fn open(holder: Holder) -> Result<Self, StepError> {
        Self::open_in(&Path::new(IMAGES).join(holder.image()))
    }

    /// The one in the image that is mounted there.
    pub fn open_in(place: &Path) -> Result<Self, StepError> {
        let description = place.join(DESCRIPTION);
        let text =
            fs::read(&description).during(format!("could not read {}", description.display()))?;
        let image = SystemImage::parse(&text).ok_or_else(|| {
            StepError::new(format!("{} describes no system image", description.display()))
        })?;
        let file = File::open(place.join(FILE)).during("could not open the system image")?;
        Ok(Self { image, file })
    }

    /// How much is written, in bytes.
    pub fn bytes(&self) -> u64 {
        self.image.bytes()
    }

    /// Writes it to `node` under another name. A cut leaves no file system there: the superblock
    /// goes first and comes back last.
    pub fn write(&self, node: &Path, name: Renaming<'_>, meter: &Meter<'_>) -> io::Result<()> {
        let device = open_direct(node)?;
        let [first, ..] = COPIES;
        let mut superblock = Aligned::new(LENGTH);
        device.write_all_at(superblock.bytes()?, first)?;
        device.sync_data()?;
        try_each(&self.pieces(), movers(), &|piece: &Piece| {
            let mut buffer = Aligned::new(piece.length);
            let bytes = buffer.bytes()?;
            self.file.read_exact_at(bytes, piece.start)?;
            for copy in COPIES {
                if let Some(block) = block_at(bytes, piece.start, copy) {
                    rename(name, block)?;
                    if copy == first {
                        block.fill(0);
                    }
                }
            }
            device.write_all_at(bytes, piece.start)?;
            meter.add(piece.length as u64);
            Ok::<(), io::Error>(())
        })?;
        device.sync_data()?;
        let bytes = superblock.bytes()?;
        self.file.read_exact_at(bytes, first)?;
        let block = bytes.first_chunk_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        rename(name, block)?;
        device.write_all_at(bytes, first)?;
        device.sync_data()
    }

    fn pieces(&self) -> Vec<Piece> {
        let of = |start: u64, length: u64| {
            (0..length.div_ceil(CHUNK)).filter_map(move |index| {
                let length = CHUNK.min(length - index * CHUNK);
                Some(Piece { start: start + index * CHUNK, length: length.try_into().ok()? })
            })
        };
        self.image.segments.iter().flat_map(|segment| of(segment.start, segment.length)).collect()
    }
}

/// Opens past the page cache, which would cost a third more: every byte is written once and not
/// read again. Where a file system cannot do that, through the cache.
fn open_direct(node: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    match options.custom_flags(flags).open(node) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            options.custom_flags(0).open(node)
        }
        other => other,
    }
}

/// Zeros at an address that direct writes take.
struct Aligned {
    memory: Vec<u8>,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        Self { memory: vec![0; length + ALIGNMENT], length }
    }

    fn bytes(&mut self) -> io::Result<&mut [u8]> {
        let start = self.memory.as_ptr().align_offset(ALIGNMENT);
        let place = self.memory.get_mut(start..start.saturating_add(self.length));
        place.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

/// The superblock at `at` within bytes that begin at `start`.
fn block_at(bytes: &mut [u8], start: u64, at: u64) -> Option<&mut [u8; LENGTH]> {
    let offset = usize::try_from(at.checked_sub(start)?).ok()?;
    bytes.get_mut(offset..)?.first_chunk_mut()
}

fn rename(name: Renaming<'_>, block: &mut [u8; LENGTH]) -> io::Result<()> {
    if name.apply(block) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the system image has a damaged superblock"))
}

#[cfg(test)]
mod tests {
    use bedplate_formats::system_image::Segment;
    use uuid::Uuid;

    use super::*;
    use bedplate_engine::Reporter;

    const SIZE: u64 = 70 << 20;

    /// A directory as the medium has it: superblocks where btrfs has them, and some content.
    fn medium(superblock: &[u8]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join(FILE)).unwrap();
        file.set_len(SIZE).unwrap();
        for copy in [COPIES[0], COPIES[1]] {
            file.write_all_at(superblock, copy).unwrap();
        }
        file.write_all_at(&[5; 3 << 20], 4 << 20).unwrap();
        let segments = [(COPIES[0], 4096), (4 << 20, 3 << 20), (COPIES[1], 4096)];
        let segments = segments.map(|(start, length)| Segment { start, length }).to_vec();
        let image = SystemImage { fsid: Uuid::nil(), size: SIZE, segments };
        fs::write(place.path().join(DESCRIPTION), serde_json::to_vec(&image).unwrap()).unwrap();
        place
    }

    fn superblock() -> [u8; LENGTH] {
        let mut block = [0; LENGTH];
        block[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        block
    }

    fn write(place: &Path, device: &File, node: &Path) -> io::Result<()> {
        // What stood there: a volume just opened holds noise.
        device.write_all_at(&vec![0xaa; SIZE as usize], 0).unwrap();
        let name = Renaming { fsid: Uuid::from_bytes([9; 16]), label: "os" };
        let reporter = Reporter::new(Vec::new());
        Source::open_in(place).unwrap().write(node, name, &Meter::new(&reporter, "x", 1))
    }

    #[test]
    fn every_segment_is_written_and_every_superblock_renamed() {
        let (place, device) = (medium(&superblock()), tempfile::NamedTempFile::new().unwrap());
        write(place.path(), device.as_file(), device.path()).unwrap();
        let read = |at: u64, length: usize| {
            let mut bytes = vec![0; length];
            device.as_file().read_exact_at(&mut bytes, at).unwrap();
            bytes
        };
        let mut wanted = superblock();
        assert!(Renaming { fsid: Uuid::from_bytes([9; 16]), label: "os" }.apply(&mut wanted));
        for copy in [COPIES[0], COPIES[1]] {
            assert!(read(copy, LENGTH) == wanted, "the copy at {copy}");
        }
        assert!(read(4 << 20, 3 << 20).iter().all(|byte| *byte == 5));
        assert!(read(8 << 20, 4096).iter().all(|byte| *byte == 0xaa), "a hole is not written");
    }

    #[test]
    fn f1_what_is_not_written_to_the_end_has_no_superblock() {
        let (place, device) = (medium(&[7; LENGTH]), tempfile::NamedTempFile::new().unwrap());
        device.as_file().set_len(SIZE).unwrap();
        let failed = write(place.path(), device.as_file(), device.path());
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut block = [1; LENGTH];
        device.as_file().read_exact_at(&mut block, COPIES[0]).unwrap();
        assert!(block == [0; LENGTH]);
    }
}
