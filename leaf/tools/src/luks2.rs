//! Reading a LUKS2 header without libcryptsetup, which repairs what it finds torn: facts are
//! gathered on disks that nobody has named, and those are never written to.
//!
//! Layout: LUKS2 On-Disk Format Specification 1.1.1, section 2 (binary header) and 3 (JSON). The
//! header stands there twice, one copy behind the other, each with a checksum over all of it. A
//! volume is open to its keys as long as one of them is whole, so both are always looked at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

/// How the first copy begins, and how the second does.
const MAGICS: [&[u8; 6]; 2] = [b"LUKS\xba\xbe", b"SKUL\xba\xbe"];
/// Where the big-endian version, the size of one copy, the number that grows with each change,
/// the name of the checksum, the UUID, the copy's own place and the checksum stand.
const VERSION: std::ops::Range<usize> = 6..8;
const SIZE: std::ops::Range<usize> = 8..16;
const SEQUENCE: std::ops::Range<usize> = 16..24;
const ALGORITHM: std::ops::Range<usize> = 72..104;
const UUID: std::ops::Range<usize> = 168..208;
const OFFSET: std::ops::Range<usize> = 256..264;
const CHECKSUM: std::ops::Range<usize> = 448..512;
/// The binary header's length; the JSON area follows.
pub(crate) const BINARY: usize = 4096;
/// The sizes that a copy can have, which are the places that the second can have.
pub(crate) const SIZES: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];

/// Reads so many bytes at a place, fewer only at the end.
pub type ReadAt<'a> = &'a dyn Fn(u64, usize) -> io::Result<Vec<u8>>;

/// What a header says of itself, unlocked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The volume's UUID, as written.
    pub uuid: String,
    /// Its tokens, by number.
    pub tokens: BTreeMap<String, Value>,
    /// How many keyslots hold a key.
    pub keyslots: usize,
    /// Grows with each change.
    pub sequence: u64,
}

#[derive(Deserialize)]
struct Metadata {
    tokens: BTreeMap<String, Value>,
    #[serde(default)]
    keyslots: BTreeMap<String, Value>,
}

/// One copy of a header.
#[derive(Debug)]
pub enum Copy {
    /// There is none.
    Absent,
    /// The device does not give it out.
    Unreadable(io::Error),
    /// It begins as one, and its checksum or something else of it is wrong.
    Broken,
    /// It is as it was written.
    Whole(Box<Header>),
}

/// Both copies of a header.
#[derive(Debug)]
pub struct Copies {
    /// At the very beginning.
    pub primary: Copy,
    /// Behind it.
    pub secondary: Copy,
}

impl Copies {
    /// Whether LUKS2 stands there in any form.
    pub fn are_there(&self) -> bool {
        [&self.primary, &self.secondary]
            .iter()
            .any(|it| matches!(it, Copy::Broken | Copy::Whole(_)))
    }

    /// Which of two copies is not whole while the other one is.
    pub fn damaged(&self) -> Option<&'static str> {
        match (&self.primary, &self.secondary) {
            (Copy::Whole(_), Copy::Whole(_)) => None,
            (Copy::Whole(_), _) => Some("secondary"),
            (_, Copy::Whole(_)) => Some("primary"),
            _ => None,
        }
    }

    /// The newest whole copy; none when there is none. It is an error, and not "none", when a copy
    /// could not be read and the other one is not whole.
    pub fn into_header(self) -> io::Result<Option<Header>> {
        match (self.primary, self.secondary) {
            (Copy::Whole(one), Copy::Whole(other)) if other.sequence > one.sequence => {
                Ok(Some(*other))
            }
            (Copy::Whole(one), _) | (_, Copy::Whole(one)) => Ok(Some(*one)),
            (Copy::Unreadable(error), _) | (_, Copy::Unreadable(error)) => Err(error),
            _ => Ok(None),
        }
    }
}

/// Reads the header of a device, for reading only; none when neither copy is whole.
pub fn read(device: &Path) -> io::Result<Option<Header>> {
    look(device)?.into_header()
}

/// Looks at both copies on a device, for reading only.
pub fn look(device: &Path) -> io::Result<Copies> {
    let file = File::open(device)?;
    Ok(look_at(&|place, length| read_at(&file, place, length)))
}

/// Reads so many bytes of a file at a place, fewer only at its end.
pub fn read_at(file: &File, place: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Looks at both copies by whatever reads them.
pub fn look_at(read: ReadAt<'_>) -> Copies {
    let primary = copy(read, 0);
    let sizes = match &primary {
        // Behind a whole copy the other one can stand at one place only.
        (Copy::Whole(_), size) => vec![*size],
        _ => SIZES.to_vec(),
    };
    let mut secondary = Copy::Absent;
    for place in sizes {
        match (copy(read, place).0, &secondary) {
            (Copy::Whole(header), _) => {
                secondary = Copy::Whole(header);
                break;
            }
            (Copy::Broken, Copy::Absent | Copy::Unreadable(_)) => secondary = Copy::Broken,
            (Copy::Unreadable(error), Copy::Absent) => secondary = Copy::Unreadable(error),
            _ => {}
        }
    }
    Copies { primary: primary.0, secondary }
}

/// The copy at a place, and its size.
fn copy(read: ReadAt<'_>, place: u64) -> (Copy, u64) {
    let whole = || -> io::Result<(Copy, u64)> {
        let mut bytes = read(place, BINARY)?;
        if !begins(&bytes, place) {
            return Ok((Copy::Absent, 0));
        }
        let Some(size) = size(&bytes, place) else { return Ok((Copy::Broken, 0)) };
        let rest = usize::try_from(size).unwrap_or(BINARY).saturating_sub(BINARY);
        bytes.extend(read(place + BINARY as u64, rest)?);
        let header = parse(&bytes, size).map(Box::new);
        Ok((header.map_or(Copy::Broken, Copy::Whole), size))
    };
    whole().unwrap_or_else(|error| (Copy::Unreadable(error), 0))
}

/// Whether this is the binary header of a LUKS2 volume, at this place of it.
fn begins(bytes: &[u8], place: u64) -> bool {
    let magic = MAGICS[usize::from(place > 0)];
    bytes.starts_with(magic) && bytes.get(VERSION) == Some(&[0, 2])
}

/// The size of one copy, when it is one that can be, and the copy says that it stands here.
fn size(bytes: &[u8], place: u64) -> Option<u64> {
    let size = number(bytes, SIZE)?;
    let fits = SIZES.contains(&size) && (place == 0 || place == size);
    (fits && number(bytes, OFFSET)? == place).then_some(size)
}

fn number(bytes: &[u8], place: std::ops::Range<usize>) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(place)?.try_into().ok()?))
}

/// Reads one whole copy, binary part and JSON area, when its checksum is right.
fn parse(bytes: &[u8], size: u64) -> Option<Header> {
    if bytes.len() as u64 != size || !is_whole(bytes)? {
        return None;
    }
    let uuid = text(bytes.get(UUID)?)?.to_owned();
    let Metadata { tokens, keyslots } = serde_json::from_str(text(bytes.get(BINARY..)?)?).ok()?;
    let sequence = number(bytes, SEQUENCE)?;
    Some(Header { uuid, tokens, keyslots: keyslots.len(), sequence })
}

/// Whether the checksum is that of the copy, with zeros where the checksum itself stands.
fn is_whole(bytes: &[u8]) -> Option<bool> {
    let (before, rest) = bytes.split_at_checked(CHECKSUM.start)?;
    let (written, after) = rest.split_at_checked(CHECKSUM.len())?;
    let zeros = [0; 64];
    let parts = [before, &zeros, after];
    let sum = match text(bytes.get(ALGORITHM)?)? {
        "sha256" => digest::<Sha256>(&parts),
        "sha512" => digest::<Sha512>(&parts),
        // libcryptsetup writes the first one, and no other.
        _ => return Some(false),
    };
    Some(written.starts_with(&sum))
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = D::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_vec()
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
pub(crate) mod tests;
