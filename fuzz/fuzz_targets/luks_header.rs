//! LUKS2 headers of disks that nobody named: both copies, as they come and with a right checksum.

#![no_main]

use bedplate_tools::luks2::{Copies, look_at};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

/// The least that a copy takes, which is where the second one stands.
const SIZE: usize = 0x4000;

fn look(bytes: &[u8]) -> Copies {
    look_at(&|place, length| {
        let from = usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        let until = from.saturating_add(length).min(bytes.len());
        Ok(bytes.get(from..until).unwrap_or_default().to_vec())
    })
}

/// The JSON area behind a binary header that is right (LUKS2 On-Disk Format 1.1.1, section 2): nothing
/// that is random has a right checksum.
fn framed(json: &[u8], place: usize) -> Vec<u8> {
    let mut header = vec![0; SIZE];
    header[..6].copy_from_slice(if place == 0 { b"LUKS\xba\xbe" } else { b"SKUL\xba\xbe" });
    header[7] = 2;
    header[8..16].copy_from_slice(&(SIZE as u64).to_be_bytes());
    header[72..78].copy_from_slice(b"sha256");
    header[256..264].copy_from_slice(&(place as u64).to_be_bytes());
    let length = json.len().min(SIZE - 4096);
    header[4096..4096 + length].copy_from_slice(&json[..length]);
    let sum = Sha256::digest(&header);
    header[448..448 + sum.len()].copy_from_slice(&sum);
    header
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let image = match kind % 4 {
        0 => bytes.to_vec(),
        1 => framed(bytes, 0),
        2 => [framed(first, 0), framed(second, SIZE)].concat(),
        // A damaged first copy, and a whole second one.
        _ => {
            let torn = bytes.iter().copied().chain(std::iter::repeat(0)).take(SIZE);
            [torn.collect(), framed(bytes, SIZE)].concat()
        }
    };
    let copies = look(&image);
    // What is damaged beside a whole copy is there, and gives a header.
    let damaged = copies.damaged().is_some();
    assert!(!damaged || copies.are_there());
    assert!(!damaged || copies.into_header().is_ok_and(|header| header.is_some()));
});
