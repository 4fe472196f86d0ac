//! Trees that are listed first and then copied file by file, by several threads.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, futimens, utimensat};

use super::{DIRECTORY_MODE, STORE_TIMES, file_mode};
use crate::error::{During as _, StepError};
use crate::meter::Meter;
use crate::parallel::{movers, try_each};

/// Bytes read and written at once.
const CHUNK: usize = 1 << 20;

/// One file to copy.
struct Entry {
    from: PathBuf,
    to: PathBuf,
    size: u64,
    executable: bool,
}

/// What trees hold. Their directories and links are there already.
#[derive(Default)]
pub struct Listing {
    files: Vec<Entry>,
    directories: Vec<PathBuf>,
    bytes: u64,
}

impl Listing {
    /// Makes directories and links below `to`, where each tree keeps its name, and lists files.
    pub fn of(trees: &[PathBuf], to: &Path) -> Result<Self, StepError> {
        let mut listing = Self::default();
        for tree in trees {
            let name = tree.file_name().unwrap_or_default();
            listing
                .add(tree, &to.join(name))
                .during(format!("could not list {} on the medium", name.display()))?;
        }
        Ok(listing)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        if metadata.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            return touch(to);
        }
        if !metadata.is_dir() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            self.bytes += metadata.len();
            let (from, to) = (from.to_owned(), to.to_owned());
            self.files.push(Entry { from, to, size: metadata.len(), executable });
            return Ok(());
        }
        fs::create_dir(to)?;
        self.directories.push(to.to_owned());
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            self.add(&from.join(&name), &to.join(&name))?;
        }
        Ok(())
    }

    /// Copies the files, then seals the directories.
    pub fn copy(&self, meter: &Meter<'_>) -> Result<(), StepError> {
        try_each(&self.files, movers(), &|file: &Entry| {
            copy_file(file)?;
            meter.add(file.size);
            io::Result::Ok(())
        })
        .during("could not copy the system to the target")?;
        for directory in self.directories.iter().rev() {
            seal(directory).during("could not finish a directory of the store")?;
        }
        Ok(())
    }
}

fn copy_file(entry: &Entry) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", entry.to.display()));
    let mut input = File::open(&entry.from).map_err(named)?;
    let mut output = File::create_new(&entry.to).map_err(named)?;
    let mut left = entry.size;
    let mut buffer = vec![0; usize::try_from(left).map_or(CHUNK, |size| size.min(CHUNK))];
    while left > 0 {
        let count = input.read(&mut buffer).map_err(named)?;
        if count == 0 {
            return Err(named(io::ErrorKind::UnexpectedEof.into()));
        }
        output.write_all(buffer.get(..count).unwrap_or_default()).map_err(named)?;
        left = left.saturating_sub(count as u64);
    }
    // By the open file: a path would be looked up once more each time.
    let mode = Permissions::from_mode(file_mode(entry.executable));
    output.set_permissions(mode).map_err(named)?;
    futimens(&output, &STORE_TIMES).map_err(io::Error::from).map_err(named)
}

fn seal(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
    touch(directory)
}

fn touch(path: &Path) -> io::Result<()> {
    Ok(utimensat(CWD, path, &STORE_TIMES, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::report::Reporter;

    #[test]
    fn a_tree_is_copied_with_store_permissions_links_and_times() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/run"), vec![7; CHUNK + 5]).unwrap();
        fs::set_permissions(from.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(from.join("text"), "x").unwrap();
        symlink("bin/run", from.join("link")).unwrap();
        fs::create_dir(&to).unwrap();
        let listing = Listing::of(&[from], &to).unwrap();
        assert_eq!(listing.bytes(), CHUNK as u64 + 6);
        let reporter = Reporter::new(Vec::new());
        listing.copy(&Meter::new(&reporter, "copy", listing.bytes())).unwrap();
        let to = to.join("from");
        assert_eq!(fs::read(to.join("bin/run")).unwrap(), vec![7; CHUNK + 5]);
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("bin/run"), mode("text"), mode("bin")), (0o555, 0o444, 0o555));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("bin/run"));
        assert_eq!(fs::symlink_metadata(to.join("link")).unwrap().mtime(), 1);
        assert_eq!(fs::metadata(&to).unwrap().mtime(), 1);
        fs::set_permissions(to.join("bin"), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
    }
}
