//! One ESP made what another is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{ENTRIES, IMAGES};
use bedplate_tools::vfat;

use super::esp::Esp;
use super::room::{self, Lacking};
use super::wanted::Part;
use super::{GenerationError, RANKS, file, has_rank, names};

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
    let esp = Esp::at(to)?;
    esp.part_names()?;
    let (wanted, (there, directories)) = (files(from)?, walk(to)?);
    // What a cut left may stand wherever a file is copied to, and takes room.
    for directory in directories.into_iter().map(|directory| to.join(directory)) {
        vfat::tidy(&directory).map_err(file("tidy", &directory))?;
    }
    let mut parts = Vec::new();
    for path in &wanted {
        parts.push(Part::file(&path.to_string_lossy(), &from.join(path))?);
    }
    // Images and what says how loaders should be, then the loaders, then what names all of it.
    // Of the entries the one that boots next is the first, so that no other one ever starts.
    parts.sort_by_key(|part| (rank(&part.path), place_of(from, &part.path), part.path.clone()));
    // Names of FAT are the same in either case.
    let key = |path: &PathBuf| path.to_string_lossy().to_ascii_lowercase();
    let known: BTreeSet<String> = wanted.iter().map(key).collect();
    let mut extra: Vec<&PathBuf> =
        there.iter().filter(|path| !known.contains(&key(path))).collect();
    extra.sort_by_key(|path| std::cmp::Reverse(rank(&path.to_string_lossy())));
    let remove = || extra.iter().try_for_each(|path| esp.remove(&path.to_string_lossy()));
    let is_short = is_short(&esp, &parts, &extra)?;
    if is_short {
        remove()?;
    }
    parts.iter().try_for_each(|part| esp.put(part))?;
    if !is_short {
        remove()?;
    }
    match esp.chain()? {
        Some(chain) if !chain.is_bootable() => {
            Err(GenerationError::Broken { esp: to.to_owned(), faults: chain.faults() })
        }
        _ => Ok(()),
    }
}

fn rank(path: &str) -> u8 {
    let at = |directory| Path::new(path).starts_with(directory);
    if at(IMAGES) {
        0
    } else if at(ENTRIES) {
        2
    } else {
        1
    }
}

/// Where an entry of ours sorts in the boot menu.
fn place_of(esp: &Path, path: &str) -> usize {
    if rank(path) < 2 {
        return 0;
    }
    let text = fs::read_to_string(esp.join(path)).unwrap_or_default();
    let place = RANKS.iter().position(|rank| has_rank(&text, rank));
    place.unwrap_or(RANKS.len())
}

/// Whether what the other does not have must go first, which has to be enough.
fn is_short(esp: &Esp, parts: &[Part], extra: &[&PathBuf]) -> Result<bool, GenerationError> {
    let (free, cluster) = room::free(&esp.root)?;
    let mut needed = room::SLACK * cluster;
    for part in parts {
        if !esp.has(part)? {
            needed += part.size.next_multiple_of(cluster);
        }
    }
    let size = |path: &&PathBuf| fs::metadata(esp.root.join(path)).map_or(0, |found| found.len());
    let most: u64 = extra.iter().map(|path| size(path).next_multiple_of(cluster)).sum();
    if free + most < needed {
        return Err(GenerationError::NoRoom(Box::new(Lacking {
            esp: esp.root.clone(),
            needed,
            free,
            possible: free + most,
            stays: Vec::new(),
            others: Vec::new(),
            set_aside: room::set_aside(&esp.root),
        })));
    }
    Ok(free < needed)
}

/// Every file below `root` but those that are its own or half done, relative to it.
pub(super) fn files(root: &Path) -> Result<BTreeSet<PathBuf>, GenerationError> {
    walk(root).map(|(files, _)| files)
}

/// These, and every directory.
fn walk(root: &Path) -> Result<(BTreeSet<PathBuf>, Vec<PathBuf>), GenerationError> {
    let (mut found, mut seen, mut directories) =
        (BTreeSet::new(), Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = directories.pop() {
        for name in names(&root.join(&directory))? {
            let path = directory.join(&name);
            if root.join(&path).is_dir() {
                directories.push(path);
            } else if path != Path::new(OWN) && !vfat::is_staged(&name) {
                found.insert(path);
            }
        }
        seen.push(directory);
    }
    Ok((found, seen))
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

    #[test]
    fn t45_a_copy_keeps_what_it_wrote_under_a_name_in_another_case() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(from.path(), &[("EFI/BOOT/BOOTX64.EFI", "shim")]);
        // On FAT these are one file.
        write(to.path(), &[("EFI/Boot/bootx64.efi", "shim"), ("EFI/Boot/other.efi", "old")]);
        copy_files(from.path(), to.path()).unwrap();
        assert!(to.path().join("EFI/Boot/bootx64.efi").exists());
        assert!(!to.path().join("EFI/Boot/other.efi").exists());
    }

    #[test]
    fn t45_what_a_cut_left_anywhere_on_a_copy_takes_no_room() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for place in [&from, &to] {
            write(place.path(), &[("EFI/nixos/kernel.efi", "kernel")]);
        }
        let left = "EFI/nixos/bedplate.new";
        write(to.path(), &[(left, "half of an initrd")]);
        copy_files(from.path(), to.path()).unwrap();
        assert!(!to.path().join(left).exists());
    }
}
