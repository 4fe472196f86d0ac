//! What other programs answer about disks and images: smartctl, wipefs, qemu-img. Names that devices give
//! themselves stand in it.

#![no_main]

use bedplate_tools::{qemu_img, smartctl, wipefs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(smartctl::parse(bytes));
    drop(wipefs::parse(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(qemu_img::parse(text));
    }
});
