#![no_main]

use bedplate_libvirt::wire::{self, Answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((length, _)) = bytes.split_first_chunk() {
        let _ = wire::rest_of_message(*length);
    }
    if let Ok(Answer::Result(result)) = wire::answer(bytes, 1) {
        let _ = wire::needs_no_login(&result);
        let _ = wire::listed(&result);
        let _ = wire::xml(&result);
        let _ = wire::state(&result);
    }
    // Most mutations spoil the header: what is behind it is tried without one as well.
    let _ = (wire::needs_no_login(bytes), wire::listed(bytes), wire::xml(bytes));
    let _ = wire::state(bytes);
});
