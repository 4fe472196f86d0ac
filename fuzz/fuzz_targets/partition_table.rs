//! The partition tables of a disk that nobody named.

#![no_main]

use std::io::Cursor;

use bedplate_tools::partition_table::{self, Entry};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

/// A table of ours, so that what is changed in it is near to one.
fn table() -> Vec<u8> {
    let entry = Entry {
        number: 1,
        name: "bedplate-os".into(),
        esp: false,
        guid: Uuid::from_u128(2),
        start: 1 << 20,
        length: 1 << 20,
    };
    let Ok(mut file) = tempfile::tempfile() else { return Vec::new() };
    let made = file
        .set_len(SIZE)
        .and_then(|()| partition_table::write(&mut file, SIZE, 512, Uuid::from_u128(1), &[entry]));
    let mut bytes = Vec::new();
    if made.is_ok() && std::io::Seek::rewind(&mut file).is_ok() {
        let _ = std::io::Read::read_to_end(&mut file, &mut bytes);
    }
    bytes
}

const SIZE: u64 = 4 << 20;

std::thread_local! {
    static TABLE: Vec<u8> = table();
}

fuzz_target!(|bytes: &[u8]| {
    let carries = |disk: Vec<u8>| {
        for sector_size in [512, 4096] {
            let mut disk = Cursor::new(disk.clone());
            partition_table::carries(&mut disk, sector_size, Uuid::from_u128(1), &[]);
        }
    };
    carries(bytes.to_vec());
    // The first header and the entries of a table that is whole otherwise.
    let near = TABLE.with(|table| {
        let mut near = table.get(..64 << 10).unwrap_or_default().to_vec();
        let length = near.len().saturating_sub(512).min(bytes.len());
        if let (Some(to), Some(from)) = (near.get_mut(512..512 + length), bytes.get(..length)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from);
        }
        near
    });
    carries(near);
});
