//! An EFI system partition, damaged in some places: what starts from it, and what is wrong with it.

#![no_main]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use bedplate_facts::boot_chain::{Chain, ENTRIES, FIRST, SECOND, is_bootable, seal, unsealed};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

/// Length of the partition, in bytes.
const SIZE: u64 = 1 << 20;

/// A partition that boots, in memory where the machine has a file system there: it is read past the cache.
fn whole() -> io::Result<NamedTempFile> {
    let image = NamedTempFile::new_in("/dev/shm").or_else(|_| NamedTempFile::new())?;
    image.as_file().set_len(SIZE)?;
    let mut file = image.reopen()?;
    format_volume(&mut file, FormatVolumeOptions::new())?;
    let system = FileSystem::new(file, FsOptions::new())?;
    let entry = seal("title x\nsort-key bedplate\nversion 1\nlinux /kernel\ninitrd /initrd\noptions a\n");
    let name = "\\grubx64.efi".encode_utf16().flat_map(u16::to_le_bytes);
    let shim: Vec<u8> = b"MZ shim ".iter().copied().chain(name).collect();
    let entry_path = format!("{ENTRIES}/bedplate-1.conf");
    let files = [
        (FIRST, shim.as_slice()),
        (SECOND, b"MZ second"),
        (entry_path.as_str(), entry.as_bytes()),
        ("kernel", b"MZ kernel"),
        ("initrd", b"070701"),
        ("loader/loader.conf", b"default bedplate-*\n"),
    ];
    for (path, content) in files {
        let mut directory = system.root_dir();
        let mut parts: Vec<&str> = path.split('/').collect();
        let file = parts.pop().unwrap_or_default();
        for part in parts {
            directory = directory.create_dir(part)?;
        }
        directory.create_file(file)?.write_all(content)?;
    }
    drop(system);
    Ok(image)
}

/// What was changed last time is put back.
struct Partition {
    image: NamedTempFile,
    whole: Vec<u8>,
    changed: Vec<u64>,
}

fn change(partition: &mut Partition, bytes: &[u8]) -> io::Result<()> {
    let file: &File = partition.image.as_file();
    for place in partition.changed.drain(..) {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        file.write_all_at(partition.whole.get(at..=at).unwrap_or_default(), place)?;
    }
    // Each four bytes say where one byte is another: most of it is empty.
    for change in bytes.chunks_exact(4).take(64) {
        let place = u64::from(u16::from_le_bytes([change[0], change[1]]));
        file.write_all_at(&change[2..3], place)?;
        partition.changed.push(place);
    }
    Ok(())
}

std::thread_local! {
    static PARTITION: std::cell::RefCell<Option<Partition>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = unsealed(text);
    }
    PARTITION.with_borrow_mut(|partition| {
        let partition = partition.get_or_insert_with(|| {
            let image = whole().expect("a partition is made");
            let whole = std::fs::read(image.path()).expect("it is read");
            assert!(is_bootable(image.path()));
            Partition { image, whole, changed: Vec::new() }
        });
        change(partition, bytes).expect("the partition is written");
        let path = partition.image.path();
        if let Ok(chain) = Chain::look(path) {
            drop(chain.faults());
            assert_eq!(chain.is_bootable(), is_bootable(path));
        }
    });
});
