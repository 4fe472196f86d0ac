//! YAML that others wrote, and machines as Ansible's variables describe them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(bedplate_yaml::parse(text));
    drop(bedplate_import::ansible::import(text));
});
