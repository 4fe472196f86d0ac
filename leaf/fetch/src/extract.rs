//! What is in a download: by its content, not its name, and with an end to it.
//!
//! Nothing is ever written under a name that stands in an archive: the one image in it becomes the
//! content of a file that was opened before (T32).

mod archive;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};

/// The most an archive may become.
pub const LIMIT: u64 = 512 << 30;
/// A block of tar, the first of which says what it is.
const TAR_BLOCK: usize = 512;
/// Where `ustar` stands in it (POSIX.1-1988 and GNU alike).
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// A download that could not be extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Damaged, or the disk is full.
    #[error("could not decompress the download")]
    Stream(#[source] io::Error),
    /// Too much came out.
    #[error("the download decompresses to more than {0} bytes")]
    TooLarge(u64),
    /// A zip that is none.
    #[error("the zip archive cannot be read")]
    Zip(#[source] zip::result::ZipError),
    /// An archive of something else.
    #[error("the archive holds no file that ends in .qcow2, .img, .raw or .iso")]
    NoImage,
    /// Which one is meant?
    #[error("the archive holds several images: {0} and {1}")]
    SeveralImages(String, String),
    /// An archive of thousands of files.
    #[error("the archive holds more than {0} entries")]
    TooMany(usize),
}

impl From<io::Error> for ExtractError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
            Some(Bomb(limit)) => Self::TooLarge(*limit),
            None => Self::Stream(error),
        }
    }
}

/// How a download is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// xz, perhaps around a tar archive, as the next three.
    Xz,
    /// gzip (RFC 1952), by `1f 8b` at its start.
    Gzip,
    /// bzip2, by `BZh` at its start.
    Bzip2,
    /// Zstandard (RFC 8878), by `28 b5 2f fd` at its start.
    Zstd,
    /// A tar archive as it is.
    Tar,
    /// A zip archive.
    Zip,
}

impl Packing {
    /// Known by the first bytes; none for a plain file.
    pub fn of(start: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 5] = [
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x1f\x8b", Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"PK\x03\x04", Self::Zip),
        ];
        let known = magics.into_iter().find(|(magic, _)| start.starts_with(magic));
        known.map(|(_, kind)| kind).or_else(|| is_tar(start).then_some(Self::Tar))
    }
}

fn is_tar(start: &[u8]) -> bool {
    start.get(TAR_MAGIC) == Some(b"ustar".as_slice())
}

/// Looks at the start of `file` and leaves it there.
pub fn packing(file: &mut File) -> io::Result<Option<Packing>> {
    file.seek(SeekFrom::Start(0))?;
    let start = start_of(file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Packing::of(&start))
}

/// Extracts the one file of `from` into `to`, at most `limit` bytes, and has it on disk.
pub fn extract(
    from: &mut File,
    to: &mut File,
    packing: Packing,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let source = BufReader::with_capacity(1 << 18, from);
    let plain: Box<dyn Read + '_> = match packing {
        Packing::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(source)),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(source)),
        Packing::Zstd => Box::new(zstd::Decoder::with_buffer(source)?),
        Packing::Tar => Box::new(source),
        Packing::Zip => return archive::unzip(source, to, limit, progress),
    };
    let mut plain = Limited { inner: plain, limit, left: limit };
    let start = start_of(&mut plain)?;
    let is_tar = is_tar(&start);
    let mut whole = io::Cursor::new(start).chain(plain);
    if is_tar {
        return archive::untar(&mut whole, to, progress);
    }
    copy(&mut whole, to, progress)
}

fn start_of(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    from.take(TAR_BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// What has no end within its limit.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes")]
struct Bomb(u64);

/// A reader that fails behind its limit.
struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        self.left =
            self.left.checked_sub(read).ok_or_else(|| io::Error::other(Bomb(self.limit)))?;
        Ok(count)
    }
}

/// Copies to the end, with holes for zeros, and has it on disk.
fn copy(
    from: &mut dyn Read,
    to: &mut File,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0_u64;
    loop {
        let count = fill(from, &mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        done += u64::try_from(count).unwrap_or(u64::MAX);
        write_sparse(to, bytes)?;
        progress(done);
    }
    to.set_len(done)?;
    to.sync_all()?;
    Ok(())
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Zeros become holes.
fn write_sparse(to: &mut File, bytes: &[u8]) -> io::Result<()> {
    if bytes.iter().all(|byte| *byte == 0) {
        to.seek(SeekFrom::Current(i64::try_from(bytes.len()).unwrap_or(0)))?;
        return Ok(());
    }
    to.write_all(bytes)
}

#[cfg(test)]
mod tests;
