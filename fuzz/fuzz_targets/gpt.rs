//! Partition tables of disks that nobody named, and the mark of our own unfinished work.

#![no_main]

use bedplate_tools::{partition_table, unfinished};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::{Seek as _, Write as _};

fuzz_target!(|bytes: &[u8]| {
    drop(unfinished::name(bytes));
    thread_local!(static IMAGE: std::cell::RefCell<Option<File>> = const { std::cell::RefCell::new(None) });
    IMAGE.with_borrow_mut(|image| {
        let file = image.get_or_insert_with(|| tempfile::tempfile().expect("a temporary file"));
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes));
        written.expect("the image is written");
        let size = bytes.len() as u64;
        for sector in [512, 4096] {
            let Some(found) = partition_table::find(file, size, sector) else { continue };
            assert!(found.partitions.iter().all(|(_, start, length)| start + length <= size));
        }
    });
});
