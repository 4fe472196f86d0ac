//! Whether two directories hold the same: names, kinds, links, and the SHA-256 of every file.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// More differences are counted and not named.
const NAMED: usize = 10;

/// Something that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {}", .path.display())]
pub struct CompareError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// Plain files that were compared by hash.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How much differs.
    pub differences: u64,
    /// The first of it, with its path.
    pub first: Vec<String>,
}

impl Compared {
    fn differs(&mut self, path: &Path, how: &str) {
        self.differences += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{} {how}", path.display()));
        }
    }
}

/// Compares `restored` with `original`, and adds to `found`. Sockets are in no backup.
pub fn compare(original: &Path, restored: &Path, found: &mut Compared) -> Result<(), CompareError> {
    compare_without(original, restored, &[], found)
}

/// As [`compare`], except for the paths of `original` that are compared with something else.
pub fn compare_without(
    original: &Path,
    restored: &Path,
    except: &[PathBuf],
    found: &mut Compared,
) -> Result<(), CompareError> {
    if except.iter().any(|one| one == original) {
        return Ok(());
    }
    let one = look(original)?;
    let Some(other) = look_if_there(restored)? else {
        found.differs(original, "is missing");
        return Ok(());
    };
    if one.file_type() != other.file_type() {
        found.differs(original, "is of another kind");
        return Ok(());
    }
    if !one.is_symlink() && one.permissions().mode() != other.permissions().mode() {
        found.differs(original, "has another mode");
    }
    if one.is_dir() {
        return compare_directories(original, restored, except, found);
    }
    if one.is_symlink() {
        if read(original, |path| fs::read_link(path))?
            != read(restored, |path| fs::read_link(path))?
        {
            found.differs(original, "points elsewhere");
        }
    } else if one.is_file() {
        found.files += 1;
        found.bytes += one.len();
        if one.len() != other.len() || read(original, hash)? != read(restored, hash)? {
            found.differs(original, "has another content");
        }
    }
    Ok(())
}

fn compare_directories(
    original: &Path,
    restored: &Path,
    except: &[PathBuf],
    found: &mut Compared,
) -> Result<(), CompareError> {
    let names = read(original, names)?;
    for extra in read(restored, self::names)?.difference(&names) {
        found.differs(&original.join(extra), "was not there");
    }
    for name in &names {
        let path = original.join(name);
        if !look(&path)?.file_type().is_socket() {
            compare_without(&path, &restored.join(name), except, found)?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

fn look(path: &Path) -> Result<Metadata, CompareError> {
    read(path, |path| fs::symlink_metadata(path))
}

fn look_if_there(path: &Path) -> Result<Option<Metadata>, CompareError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(|source| CompareError { path: path.to_owned(), source }),
    }
}

fn read<T>(path: &Path, reader: impl Fn(&Path) -> io::Result<T>) -> Result<T, CompareError> {
    reader(path).map_err(|source| CompareError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(at: &Path) {
        fs::create_dir_all(at.join("inner")).unwrap();
        fs::write(at.join("inner/file"), "content").unwrap();
        fs::write(at.join("other"), "x").unwrap();
        symlink("inner/file", at.join("link")).unwrap();
    }

    #[test]
    fn equal_trees_are_equal_and_every_difference_is_found() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        tree(&one);
        tree(&other);
        // Nobody backs up a socket.
        let _socket = std::os::unix::net::UnixListener::bind(one.join("socket")).unwrap();
        let compared = |found: &mut Compared| compare(&one, &other, found).unwrap();
        let mut found = Compared::default();
        compared(&mut found);
        assert_eq!(found, Compared { files: 2, bytes: 8, ..Compared::default() });

        // Of the same length: only the hash tells.
        fs::write(other.join("inner/file"), "CONTENT").unwrap();
        fs::remove_file(other.join("link")).unwrap();
        symlink("other", other.join("link")).unwrap();
        fs::set_permissions(other.join("other"), Permissions::from_mode(0o600)).unwrap();
        fs::write(other.join("extra"), "").unwrap();
        let mut found = Compared::default();
        compared(&mut found);
        assert_eq!(found.differences, 4, "{found:?}");
        // What is compared elsewhere is not compared here.
        let mut found = Compared::default();
        compare_without(&one, &other, &[one.join("inner")], &mut found).unwrap();
        assert_eq!((found.differences, found.files), (3, 1), "{found:?}");
        fs::remove_dir_all(other.join("inner")).unwrap();
        fs::write(other.join("inner"), "").unwrap();
        let mut found = Compared::default();
        compared(&mut found);
        assert!(
            found.first.iter().any(|one| one.ends_with("inner is of another kind")),
            "{found:?}"
        );
    }
}
