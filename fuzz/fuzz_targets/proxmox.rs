//! Machines as Proxmox VE describes them.

#![no_main]

use bedplate_import::{Base, proxmox};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(proxmox::import(text, "101", Base::Fresh));
});
