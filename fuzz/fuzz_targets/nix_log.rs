#![no_main]

use bedplate_tools::nix_log::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::default();
    for part in bytes.chunks(7) {
        reader.feed(part);
        let progress = reader.progress();
        assert!(progress.copied <= progress.to_copy && progress.built <= progress.to_build);
    }
    assert!(!reader.tail().chars().any(|c| c.is_control() && c != '\n'));
});
