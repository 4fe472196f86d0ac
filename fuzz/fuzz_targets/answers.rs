//! The header of the personalisation area.

#![no_main]

use bedplate_spec::answers::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::decode(bytes) {
        assert!(header.length <= header.capacity);
        let _ = header.check(bytes);
    }
});
