//! Files on a stick that is mounted.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bedplate_tools::direct::Direct;
use bedplate_tools::secret::Secret;
use bedplate_tools::vfat;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::layout::inside;
use crate::volume::read_volume;
use crate::{Result, StickError};

/// Reads a file of the stick mounted at `stick`: a plain file that is not empty and not longer
/// than `limit`, reached without following a link or leaving the stick.
pub fn read(stick: &Path, path: &str, limit: u64) -> Result<Secret> {
    read_if_there(stick, path, limit)?.ok_or_else(|| StickError::Missing { path: path.to_owned() })
}

/// As [`read`]; `None` when there is no such file, or an empty one, as a power cut leaves it.
pub fn read_if_there(stick: &Path, path: &str, limit: u64) -> Result<Option<Secret>> {
    Ok(content(stick, path, limit)?.filter(|secret| !secret.expose().is_empty()))
}

fn content(stick: &Path, path: &str, limit: u64) -> Result<Option<Secret>> {
    let relative = inside(path)?;
    let unusable = |what| StickError::Unusable { path: path.to_owned(), what };
    let file = match open(stick, relative) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(unusable("behind a link"));
        }
        Err(error) => return Err(StickError::file("open", path)(error)),
    };
    let found = file.metadata().map_err(StickError::file("look at", path))?;
    if !found.is_file() {
        return Err(unusable("no plain file"));
    }
    // One more than allowed: a damaged stick may hold more than its directory says.
    let secret = Secret::read(&mut file.take(limit.saturating_add(1)));
    let secret = secret.map_err(StickError::file("read", path))?;
    if secret.expose().len() as u64 > limit {
        return Err(unusable("too long"));
    }
    Ok(Some(secret))
}

fn open(stick: &Path, relative: &Path) -> io::Result<File> {
    let directory = File::open(stick)?;
    // A pipe or device must not make us wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(File::from(openat2(directory, relative, flags, Mode::empty(), stay)?))
}

/// Writes a file of the stick mounted at `stick`. A power cut leaves the old file or the new
/// one, never half of it. What stands on the stick then is compared.
pub fn write(stick: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let file = stick.join(inside(path)?);
    vfat::replace(&file, bytes).map_err(StickError::file("write", path))?;
    if back(stick, path, bytes.len() as u64)?.is_some_and(|back| back.expose() == bytes) {
        Ok(())
    } else {
        Err(StickError::ReadBack { path: path.to_owned() })
    }
}

/// What the stick itself has, read past the kernel's memory of it.
fn back(stick: &Path, path: &str, limit: u64) -> Result<Option<Secret>> {
    let failed = || StickError::file("read back", path);
    let Some(device) = vfat::device(stick).map_err(failed())? else {
        return content(stick, path, limit);
    };
    let mut device = Direct::open(&device).map_err(failed())?;
    let mut found = read_volume(&mut device, &[path], limit)?.files;
    Ok(found.pop().map(|(_, secret)| secret))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::layout::SECRET_LIMIT;

    fn kind(stick: &Path, path: &str) -> String {
        read(stick, path, SECRET_LIMIT).unwrap_err().to_string()
    }

    #[test]
    fn t15_no_link_is_followed_and_only_plain_files_of_a_sane_size_are_read() {
        let stick = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("key"), "secret").unwrap();
        symlink(outside.path().join("key"), stick.path().join("link")).unwrap();
        symlink(outside.path(), stick.path().join("directory")).unwrap();
        fs::write(stick.path().join("real"), "secret").unwrap();
        symlink("real", stick.path().join("inside")).unwrap();
        for path in ["link", "directory/key", "inside"] {
            assert_eq!(
                kind(stick.path(), path),
                format!("`{path}` on the key stick is behind a link")
            );
        }
        assert!(kind(stick.path(), "../key").contains("no plain path"));
        fs::create_dir(stick.path().join("bedplate")).unwrap();
        assert!(kind(stick.path(), "bedplate").contains("no plain file"));
        fs::write(stick.path().join("huge"), vec![1; SECRET_LIMIT as usize + 1]).unwrap();
        assert!(kind(stick.path(), "huge").contains("too long"));
        assert_eq!(read(stick.path(), "/real", 6).unwrap().expose(), b"secret");
    }

    #[test]
    fn f5_an_absent_or_empty_file_is_no_key() {
        let stick = tempfile::tempdir().unwrap();
        fs::write(stick.path().join("empty"), "").unwrap();
        for path in ["empty", "nothing", "no/such/directory"] {
            assert_eq!(read_if_there(stick.path(), path, 10).unwrap(), None);
            assert!(matches!(read(stick.path(), path, 10), Err(StickError::Missing { .. })));
        }
    }

    #[test]
    fn t23_a_file_is_replaced_whole_and_no_temporary_one_stays() {
        let stick = tempfile::tempdir().unwrap();
        write(stick.path(), "bedplate/key", b"old").unwrap();
        write(stick.path(), "bedplate/key", b"new one").unwrap();
        assert_eq!(read(stick.path(), "bedplate/key", 64).unwrap().expose(), b"new one");
        let names: Vec<_> = fs::read_dir(stick.path().join("bedplate")).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert!(write(stick.path(), "../key", b"x").is_err());
    }
}
