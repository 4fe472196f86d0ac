//! The header of the personalisation area.

#![no_main]

use bedplate_formats::answers::{FORMAT, HEADER_BYTES, Header, MAGIC};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

fn look(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert!(header.length <= header.capacity);
        let _ = header.check(bytes);
    }
}

/// With the magic, format and checksum that nothing gets past without.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(FORMAT.to_le_bytes());
    header.extend(bytes);
    header.resize(72, 0);
    let checksum = Sha256::digest(&header);
    header.extend(checksum);
    header.resize(HEADER_BYTES, 0);
    header
}

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    look(&framed(bytes));
});
