//! Whether an EFI system partition boots something: read through `fatfs`, never mounted.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use fatfs::{Dir, FileSystem, FsOptions};

/// Largest boot entry that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// Whether a boot entry stands on the partition whose kernel and initrds are there.
pub fn is_bootable(partition: &Path) -> bool {
    let Ok(file) = File::open(partition) else { return false };
    let Ok(system) = FileSystem::new(file, FsOptions::new()) else { return false };
    let root = system.root_dir();
    let Ok(entries) = root.open_dir("loader/entries") else { return false };
    entries
        .iter()
        .flatten()
        .filter(|entry| entry.is_file() && entry.file_name().ends_with(".conf"))
        .any(|entry| {
            let mut text = String::new();
            let read = entry.to_file().take(LARGEST).read_to_string(&mut text);
            read.is_ok() && names_files_that_are_there(&root, &text)
        })
}

/// Keys as in the Boot Loader Specification, type 1.
fn names_files_that_are_there(root: &Dir<'_, File>, entry: &str) -> bool {
    let values = |key: &'static str| {
        entry.lines().filter_map(move |line| {
            let (word, value) = line.trim().split_once(char::is_whitespace)?;
            (word == key).then(|| value.trim().trim_start_matches('/'))
        })
    };
    let is_there = |path: &str| {
        let mut byte = [0];
        root.open_file(path).is_ok_and(|mut file| file.read(&mut byte).is_ok_and(|read| read == 1))
    };
    values("linux").count() == 1 && values("linux").chain(values("initrd")).all(is_there)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn esp(files: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(8 << 20).unwrap();
        let mut file = image.reopen().unwrap();
        fatfs::format_volume(&mut file, fatfs::FormatVolumeOptions::new()).unwrap();
        let system = FileSystem::new(file, FsOptions::new()).unwrap();
        for (path, content) in files {
            let mut directory = system.root_dir();
            let (parents, name) = path.rsplit_once('/').unwrap();
            for parent in parents.split('/') {
                directory = directory.create_dir(parent).unwrap();
            }
            directory.create_file(name).unwrap().write_all(content.as_bytes()).unwrap();
        }
        drop(system);
        image
    }

    const ENTRY: (&str, &str) = (
        "loader/entries/bedplate-1+3.conf",
        "title x\nlinux /EFI/bedplate/k\ninitrd /EFI/bedplate/i\n",
    );

    #[test]
    fn f1_a_partition_boots_when_its_entry_and_all_that_it_names_are_there() {
        let whole = [ENTRY, ("EFI/bedplate/k", "kernel"), ("EFI/bedplate/i", "initrd")];
        assert!(is_bootable(esp(&whole).path()));
        for missing in 0..whole.len() {
            let mut some = whole.to_vec();
            some.remove(missing);
            assert!(!is_bootable(esp(&some).path()), "without {}", whole[missing].0);
        }
        assert!(!is_bootable(esp(&[ENTRY, whole[1], ("EFI/bedplate/i", "")]).path()));
    }
}
