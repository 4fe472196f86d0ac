//! A directory that is replaced as a whole.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use bedplate_tools::sync;

/// Gives `place` the `files`, beside what is there, in two renames. `staging` and `old` are names
/// on the same file system that nothing else uses.
pub fn replace(
    place: &Path,
    staging: &Path,
    old: &Path,
    files: &[(&str, String)],
) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(staging)?;
    remove(old)?;
    if place.is_dir() {
        // Files of the owner beside ours stay.
        copy_tree(place, staging)?;
    }
    fs::create_dir_all(staging)?;
    for (name, content) in files {
        let path = staging.join(name);
        // A link in its place would have what it leads to overwritten.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::write(path, content)?,
        }
    }
    sync::file_system(staging)?;
    if place.exists() {
        fs::rename(place, old)?;
    }
    fs::rename(staging, place)?;
    remove(old)
}

/// Removes a directory, if it is there.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies files, directories and links over what is there; links are not followed.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            if fs::symlink_metadata(&target).is_err() {
                symlink(fs::read_link(&source)?, &target)?;
            }
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
