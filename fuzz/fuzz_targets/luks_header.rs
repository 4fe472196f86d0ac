//! LUKS2 headers of disks that nobody named.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// The JSON area behind a binary header that says how long both are (LUKS2 On-Disk Format 1.1,
/// section 2).
fn framed(json: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 4096];
    header[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    header.extend(json);
    let size = header.len() as u64;
    header[8..16].copy_from_slice(&size.to_be_bytes());
    header
}

fuzz_target!(|bytes: &[u8]| {
    drop(bedplate_tools::luks2::parse(bytes));
    drop(bedplate_tools::luks2::parse(&framed(bytes)));
});
