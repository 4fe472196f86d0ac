//! What a machine of the network says of itself.

#![no_main]

use bedplate_discovery::Summary;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Every value is the same part of the input: what a key means is up to the reader.
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let summary = Summary::read(|key| match key {
        "v" => Some(b"1"),
        "state" => parts.first().copied(),
        "mem" => parts.get(1).copied(),
        "more" => parts.get(2).copied(),
        _ => parts.get(3).copied(),
    });
    assert!(summary.disks.len() <= 12);
    let shown = |text: &str| !text.chars().any(char::is_control);
    assert!(summary.disks.iter().all(|disk| shown(&disk.transport)));
});
