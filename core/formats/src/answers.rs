//! The header of the personalisation area (`answers.bin` on the medium).
//!
//! Bytes in, bytes out: the area is [`HEADER_BYTES`] of header and then the payload, a
//! tar with `host.toml` and the repository: `flake/…`, or the owner's as [`BUNDLE_FILE`]; or with
//! [`AUTHORIZED_KEYS_FILE`] alone, for a medium that waits to be told what to install. Integers are little-endian. The header carries a
//! SHA-256 of itself, so that a torn write is told from an empty area.

use sha2::{Digest, Sha256};

/// First bytes of the area.
pub const MAGIC: &[u8; 16] = b"BEDPLATE-ANSWERS";

/// Version of the format.
pub const FORMAT: u32 = 1;

/// Length of the header; the payload starts here.
pub const HEADER_BYTES: usize = 4096;

/// How many bytes of the header mean something, its own checksum not counted.
const FIELDS: usize = 72;

/// Length of the area of a medium, header included. No answers are longer, however they travel.
pub const AREA_BYTES: u64 = 16 << 20;

/// Where the area stands on the medium, relative to its root.
pub const ANSWERS_FILE: &str = "live/answers.bin";

/// The owner's repository in the payload: a git bundle of one branch.
pub const BUNDLE_FILE: &str = "flake.bundle";

/// What the host's commit writes to `bedplate/platform.json` of the owner's repository.
pub const PLATFORM_FILE: &str = "platform.json";

/// Public ssh keys that a medium without a `host.toml` lets in, in its place in the payload; one
/// line of OpenSSH each.
pub const AUTHORIZED_KEYS_FILE: &str = "authorized_keys";

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload in bytes; 0 when the medium is not personalised.
    pub length: u64,
    /// How long a payload may be, in bytes: the extent without the header.
    pub capacity: u64,
    /// SHA-256 of the payload.
    pub sha256: [u8; 32],
}

/// Why a personalisation area cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswersError {
    /// Fewer bytes than a header.
    #[error("the personalisation area is cut short: {found} bytes, a header has {HEADER_BYTES}")]
    Short {
        /// How many bytes there were.
        found: usize,
    },
    /// Not a personalisation area.
    #[error("there is no personalisation area here (its magic is missing)")]
    Magic,
    /// Written by another version.
    #[error("the personalisation area has format {found}, this version reads {FORMAT}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// The header does not match its own checksum.
    #[error("the header of the personalisation area is damaged; personalise the medium again")]
    Damaged,
    /// The payload does not fit.
    #[error("{length} bytes of answers do not fit into an area of {capacity}")]
    TooLarge {
        /// Length of the payload.
        length: u64,
        /// What fits.
        capacity: u64,
    },
    /// The payload does not match the checksum in the header.
    #[error("the answers on the medium are damaged; personalise the medium again")]
    Payload,
}

impl Header {
    /// The header of an area that holds nothing.
    pub fn empty(capacity: u64) -> Self {
        Self { length: 0, capacity, sha256: Sha256::digest([]).into() }
    }

    /// The header for `payload` in an area that holds `capacity` bytes of payload.
    pub fn for_payload(payload: &[u8], capacity: u64) -> Result<Self, AnswersError> {
        let length = payload.len() as u64;
        if length > capacity {
            return Err(AnswersError::TooLarge { length, capacity });
        }
        Ok(Self { length, capacity, sha256: Sha256::digest(payload).into() })
    }

    /// Whether the area holds no answers.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// As bytes, [`HEADER_BYTES`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.capacity.to_le_bytes());
        bytes.extend_from_slice(&self.sha256);
        let checksum: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&checksum);
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }

    /// Reads a header from the start of `bytes`. A payload longer than the capacity is refused,
    /// so `length` may be trusted for an allocation once the capacity is compared with the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, AnswersError> {
        let short = AnswersError::Short { found: bytes.len() };
        let header = bytes.get(..HEADER_BYTES).ok_or(short.clone())?;
        if field::<16>(header, 0).as_ref() != Some(MAGIC) {
            return Err(AnswersError::Magic);
        }
        let found = u32::from_le_bytes(field(header, 16).ok_or(short.clone())?);
        if found != FORMAT {
            return Err(AnswersError::Format { found });
        }
        let checksum: [u8; 32] = Sha256::digest(header.get(..FIELDS).ok_or(short.clone())?).into();
        if field::<32>(header, FIELDS) != Some(checksum) {
            return Err(AnswersError::Damaged);
        }
        let length = u64::from_le_bytes(field(header, 24).ok_or(short.clone())?);
        let capacity = u64::from_le_bytes(field(header, 32).ok_or(short.clone())?);
        let sha256 = field(header, 40).ok_or(short)?;
        if length > capacity {
            return Err(AnswersError::TooLarge { length, capacity });
        }
        Ok(Self { length, capacity, sha256 })
    }

    /// Whether `payload` is what the header speaks of.
    pub fn check(&self, payload: &[u8]) -> Result<(), AnswersError> {
        let digest: [u8; 32] = Sha256::digest(payload).into();
        if payload.len() as u64 == self.length && digest == self.sha256 {
            Ok(())
        } else {
            Err(AnswersError::Payload)
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = Header::for_payload(b"answers", 100).unwrap();
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(Header::decode(&bytes).unwrap(), header);
        header.check(b"answers").unwrap();
        assert!(Header::empty(100).is_empty() && !header.is_empty());
    }

    #[test]
    fn t13_oversize_answers_are_refused() {
        let refused = AnswersError::TooLarge { length: 3, capacity: 2 };
        assert_eq!(Header::for_payload(b"abc", 2), Err(refused.clone()));
        let lying = Header { length: 3, capacity: 2, sha256: [0; 32] };
        assert_eq!(Header::decode(&lying.encode()), Err(refused));
    }

    #[test]
    fn f7_damage_is_noticed() {
        let header = Header::for_payload(b"answers", 100).unwrap();
        for position in 0..FIELDS + 32 {
            let mut bytes = header.encode();
            bytes[position] ^= 1;
            assert!(Header::decode(&bytes).is_err(), "byte {position}");
        }
        assert_eq!(header.check(b"answer5"), Err(AnswersError::Payload));
        assert_eq!(header.check(b"answers."), Err(AnswersError::Payload));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Header::decode(&bytes);
        }
    }
}
