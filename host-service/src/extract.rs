//! Decompression by content, with an end to it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};

/// The most an archive may become.
pub const LIMIT: u64 = 512 << 30;

/// An archive that could not be extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Damaged, or the disk is full.
    #[error("could not decompress the download")]
    Stream(#[from] io::Error),
    /// Too much came out.
    #[error("the download decompresses to more than {0} bytes")]
    TooLarge(u64),
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// xz.
    Xz,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Known by the first bytes; none for a plain file.
    pub fn of(start: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 4] = [
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x1f\x8b", Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
        ];
        magics.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| kind)
    }
}

/// Looks at the start of `file` and leaves it there.
pub fn compression(file: &mut File) -> io::Result<Option<Compression>> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    file.take(6).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Compression::of(&start))
}

/// Decompresses `from` into `to`, at most `limit` bytes, and has them on disk.
pub fn extract(
    from: &mut File,
    to: &mut File,
    kind: Compression,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let source = BufReader::with_capacity(1 << 18, from);
    let mut plain: Box<dyn Read + '_> = match kind {
        Compression::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(source)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(source)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(source)?),
    };
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0_u64;
    loop {
        let count = fill(&mut plain, &mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        done += u64::try_from(count).unwrap_or(u64::MAX);
        if done > limit {
            return Err(ExtractError::TooLarge(limit));
        }
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
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn run(packed: &[u8], limit: u64) -> Result<Vec<u8>, ExtractError> {
        let mut from = file_of(packed);
        let kind = compression(&mut from)?.unwrap();
        let mut to = tempfile::tempfile()?;
        extract(&mut from, &mut to, kind, limit, &mut |_| ())?;
        to.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        to.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn packings(plain: &[u8]) -> [Vec<u8>; 4] {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(plain).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(plain).unwrap();
        let zstd = zstd::encode_all(plain, 1).unwrap();
        [xz.finish().unwrap(), gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd]
    }

    #[test]
    fn every_compression_is_undone_with_holes_at_the_end() {
        let mut plain = b"start".to_vec();
        plain.resize(1 << 20, 0);
        for packed in packings(&plain) {
            assert!(run(&packed, 1 << 20).unwrap() == plain);
        }
    }

    #[test]
    fn t31_a_bomb_ends_at_the_limit() {
        for packed in packings(&vec![0; 1 << 20]) {
            assert!(matches!(run(&packed, (1 << 20) - 1), Err(ExtractError::TooLarge(_))));
        }
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        for packed in packings(b"something that is long enough to be cut") {
            let cut = &packed[..packed.len() - 4];
            assert!(matches!(run(cut, 1000), Err(ExtractError::Stream(_))), "{packed:x?}");
        }
    }
}
