//! One ESP made what another is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_tools::sync;

use super::{GenerationError, file, names, place};

/// Where boot entries stand.
const ENTRIES: &str = "loader/entries";
/// What every disk has of its own: systemd-boot writes it anew at each boot.
const OWN: &str = "loader/random-seed";

/// Makes the ESP at `to` carry the files of the one at `from`. What entries name comes before
/// them, and what the other does not have goes last.
pub fn copy(from: &Path, to: &Path) -> Result<(), GenerationError> {
    for esp in [from, to] {
        if !super::is_mount_point(esp) {
            return Err(GenerationError::NoEsp { path: esp.to_owned() });
        }
    }
    copy_files(from, to)
}

fn copy_files(from: &Path, to: &Path) -> Result<(), GenerationError> {
    let (wanted, there) = (files(from)?, files(to)?);
    let (entries, others): (Vec<_>, Vec<_>) =
        wanted.iter().partition(|path| path.starts_with(ENTRIES));
    for part in [others, entries] {
        for path in part {
            place(&from.join(path), &to.join(path))?;
        }
        sync::file_system(to).map_err(file("flush", to))?;
    }
    for path in there.difference(&wanted) {
        let path = to.join(path);
        fs::remove_file(&path).map_err(file("remove", &path))?;
    }
    sync::file_system(to).map_err(file("flush", to))
}

/// Every file below `root` but those that are its own, relative to it.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>, GenerationError> {
    let (mut found, mut directories) = (BTreeSet::new(), vec![PathBuf::new()]);
    while let Some(directory) = directories.pop() {
        for name in names(&root.join(&directory))? {
            let path = directory.join(name);
            if root.join(&path).is_dir() {
                directories.push(path);
            } else if path != Path::new(OWN) {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn a_copy_has_what_the_other_has_and_keeps_its_own_seed() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let entry = "loader/entries/bedplate-2.conf";
        write(from.path(), &[("EFI/BOOT/BOOTX64.EFI", "shim"), (entry, "two"), (OWN, "a")]);
        write(to.path(), &[("loader/entries/bedplate-1.conf", "one"), (OWN, "b"), (entry, "old")]);
        copy_files(from.path(), to.path()).unwrap();
        assert_eq!(files(from.path()).unwrap(), files(to.path()).unwrap());
        let read = |path: &str| fs::read_to_string(to.path().join(path)).unwrap();
        assert_eq!((read(entry), read(OWN)), ("two".to_owned(), "b".to_owned()));
        assert!(copy(from.path(), to.path()).is_err(), "neither is a mounted ESP");
    }
}
