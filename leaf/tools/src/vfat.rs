//! Files of a mounted FAT volume, replaced and removed so that a power cut at any write leaves the old
//! file or the new one.
//!
//! The kernel's vfat has no journal, and three of its habits lose files (fs/fat/file.c, namei_vfat.c and
//! inode.c of Linux 6.12):
//!
//! - A rename over a file frees that file's clusters at once. The slot that still points to them is
//!   written with the inode, later: `fsync` of the directory writes the one and not the other. So the
//!   replaced file is held open, which keeps its clusters allocated, until the slot is on the disk.
//! - `fsync` of a new file writes its slot before the table that says which clusters it has. So the
//!   device is flushed first: the table is in its cache, and the slot is not yet.
//! - A rename writes a second slot before it takes the first away. A cut in between leaves two names of
//!   one file, and whoever deletes one frees the content of the other. So what a cut left under a
//!   temporary name is deleted only when no other file of the directory says the same. And what one of
//!   them says the same as is not freed either, when it is replaced or removed: it keeps its clusters
//!   under a temporary name. That loses room until somebody checks the volume, and no file. To free it here
//!   would be to delete both names: the second one frees clusters that are free already, or another
//!   program's by then, and without `errors=continue` the volume is read-only from that moment.
//!
//! On any other file system this is merely slow.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::sync;

/// Mount options of every FAT volume that more programs than ours write to: a rename then writes the
/// new slot before it frees what the old one pointed to (`mount(8)`). And what a cut left, a name that
/// points at free clusters, can be replaced: by itself the kernel makes the volume read-only when the
/// last of such a file goes, with everything still to be written.
pub const DURABLE: &str = "dirsync,errors=continue";

/// What `statfs(2)` says of FAT (`MSDOS_SUPER_MAGIC`, linux/magic.h).
const FAT: rustix::fs::FsWord = 0x4d44;

/// What names of files that are not whole yet begin and end with.
const STAGED: (&str, &str) = ("bedplate", ".new");
/// How many files that cannot be deleted safely are passed over.
const MOST: u32 = 100;
/// Longest temporary file that is compared with others; longer ones are kernels and stay.
const LONGEST: u64 = 256 << 20;

/// Puts `content` at `path`, whatever stands there. When it returns, the new file is on the disk and
/// the old one is gone.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = parent(path)?;
    make_directory(directory)?;
    let _alone = alone(directory)?;
    tidy_alone(directory)?;
    let is_held_twice = path.exists() && may_share(path, &staged_in(directory)?)?;
    let staged = write_new(directory, content)?;
    if is_held_twice {
        // What stood there keeps its clusters, under the temporary name.
        renameat_with(CWD, &staged, CWD, path, RenameFlags::EXCHANGE)?;
        sync::directory(directory)?;
        return sync::file_system(directory);
    }
    // Its clusters stay allocated for as long as it is open.
    let old = File::open(path).ok();
    fs::rename(&staged, path)?;
    // First the temporary name goes, then the slot of the new file is written.
    sync::directory(directory)?;
    sync::file_system(directory)?;
    if old.is_some() {
        drop(old);
        sync::file_system(directory)?;
    }
    Ok(())
}

/// Deletes a file: its name is off the disk before its clusters are free.
pub fn remove(path: &Path) -> io::Result<()> {
    let directory = parent(path)?;
    let _alone = alone(directory)?;
    match may_share(path, &staged_in(directory)?)? {
        true => set_aside_alone(path, directory),
        false => remove_alone(path, directory),
    }
}

/// Takes a file's name away and frees nothing: for one of two names of one file, as a power cut leaves
/// them where somebody else renames.
pub fn set_aside(path: &Path) -> io::Result<()> {
    let directory = parent(path)?;
    let _alone = alone(directory)?;
    set_aside_alone(path, directory)
}

fn set_aside_alone(path: &Path, directory: &Path) -> io::Result<()> {
    let free = staged_names(directory).find(|name| name.symlink_metadata().is_err());
    fs::rename(path, free.ok_or_else(too_many)?)?;
    sync::directory(directory)?;
    sync::file_system(directory)
}

fn remove_alone(path: &Path, directory: &Path) -> io::Result<()> {
    let held = File::open(path)?;
    fs::remove_file(path)?;
    sync::directory(directory)?;
    sync::file_system(directory)?;
    drop(held);
    sync::file_system(directory)
}

/// Deletes what a power cut left half done in a directory, as far as that is safe.
pub fn tidy(directory: &Path) -> io::Result<()> {
    let _alone = alone(directory)?;
    tidy_alone(directory)
}

fn tidy_alone(directory: &Path) -> io::Result<()> {
    for path in staged_in(directory)? {
        if !may_share(&path, &files_in(directory)?)? {
            remove_alone(&path, directory)?;
        }
    }
    Ok(())
}

/// Held while files of a directory come and go: what another thread or program has not named yet looks
/// as if a power cut had left it.
fn alone(directory: &Path) -> io::Result<File> {
    let held = File::open(directory)?;
    held.lock()?;
    Ok(held)
}

/// Whether a file of this name is one that is not whole yet.
pub fn is_staged(name: &str) -> bool {
    let (first, last) = STAGED;
    name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)).is_some_and(|number| {
        number.is_empty() || number.strip_prefix('-').is_some_and(|it| it.parse::<u32>().is_ok())
    })
}

/// The device node of the FAT volume that `path` is on; none when it is another file system.
pub fn device(path: &Path) -> io::Result<Option<PathBuf>> {
    if rustix::fs::statfs(path)?.f_type != FAT {
        return Ok(None);
    }
    let number = fs::metadata(path)?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let about = format!("/sys/dev/block/{major}:{minor}/uevent");
    let text = match fs::read_to_string(about) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    Ok(name.map(|name| Path::new("/dev").join(name)))
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A directory is on the disk before a file in it is.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    sync::file_system(directory)
}

/// Names for files that are not whole yet.
fn staged_names(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let (first, last) = STAGED;
    (0..MOST).map(move |number| match number {
        0 => directory.join(format!("{first}{last}")),
        _ => directory.join(format!("{first}-{number}{last}")),
    })
}

fn too_many() -> io::Error {
    let why =
        format!("{MOST} unfinished files stand in the directory: check the volume with fsck.vfat");
    io::Error::new(io::ErrorKind::AlreadyExists, why)
}

fn write_new(directory: &Path, content: &[u8]) -> io::Result<PathBuf> {
    for path in staged_names(directory) {
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        let written = fill(&mut file, directory, content);
        drop(file);
        if let Err(error) = written {
            // The disk is full, or broken: what is told is why.
            remove_alone(&path, directory).ok();
            return Err(error);
        }
        return Ok(path);
    }
    Err(too_many())
}

fn fill(file: &mut File, directory: &Path, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    if let Some(device) = device(directory)? {
        // The table of clusters, before the slot that points into it.
        File::open(device)?.sync_all()?;
    }
    file.sync_all()?;
    sync::file_system(directory)
}

/// What stands in a directory under names of files that are not whole yet. After [`tidy`] it is what keeps the
/// clusters of a file that had two names, for good.
pub fn staged_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = files_in(directory)?;
    found.retain(|path| path.file_name().and_then(OsStr::to_str).is_some_and(is_staged));
    Ok(found)
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut found = entries.collect::<io::Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

/// Whether another one of the files says the same since the same time: it may be the same clusters, for a
/// rename leaves the time alone. What cannot be read may be anybody's.
fn may_share(path: &Path, files: &[PathBuf]) -> io::Result<bool> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Ok(true);
    }
    let (length, since) = (about.len(), about.mtime());
    let is_like = |it: fs::Metadata| it.is_file() && it.len() == length && it.mtime() == since;
    let alike = |other: &&PathBuf| *other != path && fs::metadata(other).is_ok_and(is_like);
    let others: Vec<&PathBuf> = files.iter().filter(alike).collect();
    if length == 0 || others.is_empty() {
        return Ok(false);
    }
    if length > LONGEST {
        return Ok(true);
    }
    let Ok(content) = fs::read(path) else { return Ok(true) };
    Ok(others.iter().any(|other| fs::read(other).is_ok_and(|other| other == content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn t45_a_file_is_replaced_whole_and_nothing_else_stays() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("EFI/BOOT/BOOTX64.EFI");
        for content in ["one", "two"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!(names(file.parent().unwrap()), ["BOOTX64.EFI"]);
        remove(&file).unwrap();
        assert!(!file.exists());
        assert!(remove(&file).is_err(), "there is nothing to remove");
    }

    #[test]
    fn t45_what_a_cut_left_goes_unless_it_may_share_its_clusters_with_another_file() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("loader"), "whole").unwrap();
        fs::hard_link(at("loader"), at("bedplate.new")).unwrap();
        fs::write(at("bedplate-1.new"), "hal").unwrap();
        replace(&at("other"), b"content").unwrap();
        assert_eq!(names(place.path()), ["bedplate.new", "loader", "other"]);
        assert_eq!(fs::read(at("other")).unwrap(), b"content");
        fs::remove_file(at("loader")).unwrap();
        tidy(place.path()).unwrap();
        assert_eq!(names(place.path()), ["other"], "it has no twin any more");
    }

    /// What a cut leaves in the middle of a rename: two names, and one of them is about to be replaced.
    #[test]
    fn t45_what_may_share_its_clusters_with_a_leftover_is_not_freed_when_it_is_replaced_or_removed()
    {
        for replaced in [true, false] {
            let place = tempfile::tempdir().unwrap();
            let at = |name: &str| place.path().join(name);
            fs::write(at("loader"), "whole").unwrap();
            fs::hard_link(at("loader"), at("bedplate.new")).unwrap();
            fs::write(at("other"), "whole").unwrap();
            match replaced {
                true => replace(&at("loader"), b"newer").unwrap(),
                false => remove(&at("loader")).unwrap(),
            }
            // Later, and another file.
            replace(&at("third"), b"x").unwrap();
            tidy(place.path()).unwrap();
            let links = fs::metadata(at("bedplate.new")).unwrap().nlink();
            assert_eq!(links, 2, "both names are there, and nothing was freed");
            assert_eq!(fs::read(at("bedplate-1.new")).unwrap(), b"whole");
            assert_eq!(fs::read(at("loader")).ok().as_deref(), replaced.then_some(&b"newer"[..]));
        }
    }

    #[test]
    fn t45_a_file_that_says_what_a_leftover_says_leaves_no_further_one() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("entry"), "first").unwrap();
        let file = File::options().write(true).open(at("entry")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::hard_link(at("entry"), at("bedplate.new")).unwrap();
        for text in ["later", "first", "later", "first", "later"] {
            replace(&at("entry"), text.as_bytes()).unwrap();
        }
        assert_eq!(names(place.path()), ["bedplate-1.new", "bedplate.new", "entry"]);
    }

    #[test]
    fn t45_one_of_two_names_is_set_aside_and_nothing_is_freed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("entry+3"), "whole").unwrap();
        fs::hard_link(at("entry+3"), at("entry")).unwrap();
        set_aside(&at("entry+3")).unwrap();
        replace(&at("entry"), b"sorted elsewhere").unwrap();
        assert_eq!(names(place.path()), ["bedplate-1.new", "bedplate.new", "entry"]);
        assert_eq!(fs::metadata(at("bedplate.new")).unwrap().nlink(), 2);
    }

    #[test]
    fn t45_what_is_no_file_or_cannot_be_told_from_another_does_not_stop_a_replacement() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bedplate.new")).unwrap();
        replace(&place.path().join("loader"), b"whole").unwrap();
        assert_eq!(names(place.path()), ["bedplate.new", "loader"]);
    }

    #[test]
    fn t23_t45_files_of_one_directory_are_replaced_at_once_by_several() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let file = place.path().join(format!("header-{writer}"));
                scope.spawn(move || {
                    for round in 0..20 {
                        replace(&file, format!("{writer} {round}").as_bytes()).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(place.path()).len(), 6);
        for writer in 0..6 {
            let file = place.path().join(format!("header-{writer}"));
            assert_eq!(fs::read_to_string(file).unwrap(), format!("{writer} 19"));
        }
    }

    #[test]
    fn names_of_unfinished_files_are_told_from_others() {
        for name in ["bedplate.new", "bedplate-7.new"] {
            assert!(is_staged(name), "{name}");
        }
        for name in ["bedplate", "bedplate-x.new", "bedplate-7.conf", "a.new", "bedplate7.new"] {
            assert!(!is_staged(name), "{name}");
        }
    }
}
