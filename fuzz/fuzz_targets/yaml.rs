//! YAML that others wrote: machines as Ansible's variables describe them, disks of disko, services of
//! Compose.

#![no_main]

use bedplate_import::{Base, ansible, compose, disko};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(bedplate_yaml::parse(text).map(|root| root.resolved()));
    drop(ansible::import(text, Base::Fresh));
    drop(compose::import(text));
    drop(disko::import(text));
});
