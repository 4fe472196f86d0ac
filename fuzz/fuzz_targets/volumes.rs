//! The first bytes of volumes that nobody named: file systems by their superblock, images by their
//! header.

#![no_main]

use bedplate_tools::btrfs::Superblock;
use bedplate_tools::qcow2;
use bedplate_tools::signature::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(Superblock::parse(bytes));
    drop(Signature::parse(bytes));
    let _ = qcow2::size_in(bytes);
    let _ = qcow2::named_in(bytes);
    // Behind a header that is right: version 3, and all of it extensions.
    let mut image = vec![0; 104];
    image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    image[103] = 104;
    image.extend_from_slice(bytes);
    let _ = qcow2::named_in(&image);
    // Behind a magic that is right.
    let mut block = vec![0; 4096];
    block[0x40..0x48].copy_from_slice(b"_BHRfS_M");
    let length = bytes.len().min(0x40);
    block[0x48..0x48 + length].copy_from_slice(&bytes[..length]);
    assert!(Superblock::parse(&block).is_some());
});
