//! Finding a file in an ISO 9660 image: where its extent stands, and how long it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, file};

const SECTOR: u64 = 2048;
/// No directory of ours is larger; a damaged image must not make us allocate.
const MAX_DIRECTORY: u64 = 1 << 20;

/// The extent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Finds `path` (such as `live/answers.bin`, ASCII, any case) in `image`.
pub(crate) fn find(image: &mut (impl Read + Seek), path: &str) -> io::Result<Extent> {
    let mut descriptor = vec![0; SECTOR as usize];
    read_at(image, 16 * SECTOR, &mut descriptor)?;
    if descriptor.get(..6) != Some(b"\x01CD001") {
        return Err(invalid("it is not an ISO 9660 image"));
    }
    let mut found = descriptor.get(156..190).and_then(record);
    for name in path.split('/') {
        let directory = found.filter(|(_, is_directory)| *is_directory);
        let (extent, _) = directory.ok_or_else(|| invalid(format!("it has no {path}")))?;
        found = look_up(image, extent, name)?;
    }
    match found {
        Some((extent, false)) => Ok(extent),
        _ => Err(invalid(format!("it has no file {path}"))),
    }
}

/// Copies the file `path` of the medium `iso` to `to`.
pub fn extract(iso: &Path, path: &str, to: &Path) -> Result<(), Error> {
    let mut image = File::open(iso).map_err(file("open", iso))?;
    let extent = find(&mut image, path).map_err(file("read", iso))?;
    image.seek(SeekFrom::Start(extent.offset)).map_err(file("read", iso))?;
    let mut output = File::create(to).map_err(file("write", to))?;
    io::copy(&mut image.take(extent.length), &mut output).map_err(file("write", to)).map(drop)
}

fn look_up(
    image: &mut (impl Read + Seek),
    directory: Extent,
    name: &str,
) -> io::Result<Option<(Extent, bool)>> {
    if directory.length > MAX_DIRECTORY {
        return Err(invalid("a directory is too large"));
    }
    let mut content = vec![0; directory.length as usize];
    read_at(image, directory.offset, &mut content)?;
    for sector in content.chunks(SECTOR as usize) {
        let mut rest = sector;
        while let Some(&length) = rest.first() {
            if length == 0 {
                break;
            }
            let (entry, after) = rest
                .split_at_checked(length.into())
                .ok_or_else(|| invalid("a directory is damaged"))?;
            rest = after;
            if is_named(entry, name) {
                return Ok(record(entry));
            }
        }
    }
    Ok(None)
}

/// Whether a directory record has this name, by Rock Ridge (`NM`) or plain ISO 9660.
fn is_named(entry: &[u8], name: &str) -> bool {
    let Some(&length) = entry.get(32) else { return false };
    let end = 33 + usize::from(length);
    let Some(plain) = entry.get(33..end) else { return false };
    let plain = plain.split(|byte| *byte == b';').next().unwrap_or_default();
    if plain.eq_ignore_ascii_case(name.as_bytes()) {
        return true;
    }
    let mut system_use = entry.get(end + (end & 1)..).unwrap_or_default();
    while let [first, second, length, ..] = *system_use {
        let Some((field, after)) = system_use.split_at_checked(length.into()) else { break };
        if length < 4 {
            break;
        }
        if [first, second] == *b"NM" {
            return field.get(5..) == Some(name.as_bytes());
        }
        system_use = after;
    }
    false
}

fn record(entry: &[u8]) -> Option<(Extent, bool)> {
    let number = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
    let extent = Extent { offset: u64::from(number(2)?) * SECTOR, length: u64::from(number(10)?) };
    Some((extent, entry.get(25)? & 2 != 0))
}

fn read_at(image: &mut (impl Read + Seek), offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    image.seek(SeekFrom::Start(offset))?;
    image.read_exact(buffer)
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn entry(name: &str, sector: u32, length: u32, directory: bool) -> Vec<u8> {
        let mut bytes = vec![0; 33];
        bytes[2..6].copy_from_slice(&sector.to_le_bytes());
        bytes[10..14].copy_from_slice(&length.to_le_bytes());
        bytes[25] = if directory { 2 } else { 0 };
        bytes[32] = name.len() as u8;
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes[0] = bytes.len() as u8;
        bytes
    }

    fn image() -> Vec<u8> {
        let mut image = vec![0; 21 * SECTOR as usize];
        let mut put = |at: u64, bytes: &[u8]| {
            image[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        };
        put(16 * SECTOR, b"\x01CD001");
        put(16 * SECTOR + 156, &entry("\0", 18, 2048, true)[..34]);
        put(18 * SECTOR, &entry("LIVE", 19, 2048, true));
        let mut listing = entry("VMLINUZ.;1", 1, 1, false);
        listing.extend(entry("ANSWERS.BIN;1", 20, 2000, false));
        put(19 * SECTOR, &listing);
        image
    }

    #[test]
    fn a_file_is_found() {
        let found = find(&mut Cursor::new(image()), "live/answers.bin").unwrap();
        assert_eq!(found, Extent { offset: 20 * SECTOR, length: 2000 });
        assert!(find(&mut Cursor::new(image()), "live/none").is_err());
        assert!(find(&mut Cursor::new(image()), "live").is_err());
    }

    #[test]
    fn f7_a_damaged_or_truncated_image_is_an_error() {
        let whole = image();
        for length in [0, 100, 17 * SECTOR as usize, 19 * SECTOR as usize + 10] {
            let cut = whole[..length].to_vec();
            assert!(find(&mut Cursor::new(cut), "live/answers.bin").is_err(), "{length}");
        }
        for position in 16 * SECTOR as usize..20 * SECTOR as usize {
            let mut damaged = whole.clone();
            damaged[position] = 0xff;
            let _ = find(&mut Cursor::new(damaged), "live/answers.bin");
        }
    }
}
