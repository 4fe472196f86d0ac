//! Reading a LUKS2 header without libcryptsetup, which repairs what it finds torn: facts are
//! gathered on disks that nobody has named, and those are never written to.
//!
//! Layout: LUKS2 On-Disk Format Specification 1.1.1, section 2 (binary header) and 3 (JSON).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

const MAGIC: &[u8] = b"LUKS\xba\xbe";
/// Where the big-endian version, the header's size and the UUID stand.
const VERSION: std::ops::Range<usize> = 6..8;
const SIZE: std::ops::Range<usize> = 8..16;
const UUID: std::ops::Range<usize> = 168..208;
/// The binary header's length; the JSON area follows.
const BINARY: usize = 4096;
/// The largest header of the specification, binary part and JSON area.
const LARGEST: u64 = 4 << 20;

/// What a header says of itself, unlocked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The volume's UUID, as written.
    pub uuid: String,
    /// Its tokens, by number.
    pub tokens: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Metadata {
    tokens: BTreeMap<String, Value>,
}

/// Reads the primary header of a device, for reading only; none when there is no whole one.
pub fn read(device: &Path) -> io::Result<Option<Header>> {
    let mut bytes = Vec::new();
    let mut file = File::open(device)?;
    file.by_ref().take(BINARY as u64).read_to_end(&mut bytes)?;
    let Some(size) = size(&bytes) else { return Ok(None) };
    file.take(size - BINARY as u64).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

/// The whole header's size, when this is the binary header of a LUKS2 volume.
fn size(bytes: &[u8]) -> Option<u64> {
    let is_luks2 = bytes.starts_with(MAGIC) && bytes.get(VERSION)? == [0, 2];
    let size = u64::from_be_bytes(bytes.get(SIZE)?.try_into().ok()?);
    (is_luks2 && size > BINARY as u64 && size <= LARGEST).then_some(size)
}

/// Reads a whole header, binary part and JSON area.
pub fn parse(bytes: &[u8]) -> Option<Header> {
    size(bytes)?;
    let uuid = text(bytes.get(UUID)?)?.to_owned();
    let metadata: Metadata = serde_json::from_str(text(bytes.get(BINARY..)?)?).ok()?;
    Some(Header { uuid, tokens: metadata.tokens })
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Vec<u8> {
        let mut bytes = vec![0; 16384];
        bytes[..6].copy_from_slice(MAGIC);
        bytes[VERSION].copy_from_slice(&[0, 2]);
        bytes[SIZE].copy_from_slice(&16384_u64.to_be_bytes());
        bytes[168..204].copy_from_slice(b"6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        bytes[BINARY..BINARY + json.len()].copy_from_slice(json.as_bytes());
        bytes
    }

    const OURS: &str = r#"{"tokens":{"3":{"type":"bedplate","keyslots":[],"plan":"p"}}}"#;

    #[test]
    fn tokens_are_found_by_number() {
        let found = parse(&header(OURS)).unwrap();
        assert_eq!(found.uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        assert_eq!(found.tokens["3"]["plan"], "p");
    }

    #[test]
    fn t04_a_crafted_header_is_no_header() {
        let good = header(OURS);
        for at in 0..good.len().min(4300) {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = parse(&bad);
            let _ = parse(&good[..at]);
        }
        let mut huge = good;
        huge[SIZE].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(parse(&huge), None);
    }
}
