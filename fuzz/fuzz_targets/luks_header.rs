//! LUKS2 headers of disks that nobody named.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(bedplate_tools::luks2::parse(bytes));
});
