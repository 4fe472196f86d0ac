//! A copy that is made of a store path while the path is read and hashed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bedplate_tools::nix::archive::{Content, Follower, content_followed};
use crossbeam_channel::{Sender, bounded};
use rustix::fs::{AtFlags, Mode, OFlags, futimens, mkdirat, openat, symlinkat, utimensat};

use super::{DIRECTORY_MODE, STORE_TIMES, file_mode};
use crate::meter::Meter;

/// From so many bytes on, a path is written by a thread of its own while it is hashed.
const LARGE: u64 = 8 << 20;

/// Pieces that may be read before they are written.
const AHEAD: usize = 16;

/// Copies what stands at `from` into the directory `to`, under its own name; what it is. `size` is
/// about how much it is.
pub fn copy(from: &Path, to: &Path, size: u64, meter: &Meter<'_>) -> io::Result<Content> {
    let mut twin = Twin { within: vec![File::open(to)?], file: None, metered: 0, meter };
    let content = if size < LARGE {
        content_followed(from, &mut twin)?
    } else {
        written_beside(from, &mut twin)?
    };
    meter.add(content.size.saturating_sub(twin.metered));
    Ok(content)
}

/// One thread reads and hashes, another writes.
fn written_beside(from: &Path, twin: &mut Twin<'_>) -> io::Result<Content> {
    let (sender, receiver) = bounded(AHEAD);
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(move || receiver.iter().try_for_each(|told: Told| twin.make(told)));
        let read = content_followed(from, &mut Ahead(sender));
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer died")));
        // A writer that failed listens no longer, which the reader only notices.
        written.and(read)
    })
}

/// Makes what it is told of.
struct Twin<'a> {
    /// Open directories, the innermost last.
    within: Vec<File>,
    file: Option<File>,
    /// Bytes that the meter knows of.
    metered: u64,
    meter: &'a Meter<'a>,
}

impl Twin<'_> {
    fn innermost(&self) -> io::Result<&File> {
        self.within.last().ok_or_else(|| io::Error::other("more directories end than began"))
    }

    fn make(&mut self, told: Told) -> io::Result<()> {
        match told {
            Told::Enter(name) => self.enter(&name),
            Told::Leave => self.leave(),
            Told::Link(name, target) => self.link(&name, &target),
            Told::File(name, executable, length) => self.file(&name, executable, length),
            Told::Bytes(bytes) => self.bytes(&bytes),
            Told::End => self.end(),
        }
    }
}

impl Follower for Twin<'_> {
    fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let outer = self.innermost()?;
        mkdirat(outer, name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = openat(outer, name, flags, Mode::empty())?;
        self.within.push(inner.into());
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        let directory = self.within.pop();
        let directory = directory.ok_or_else(|| io::Error::other("no directory ends here"))?;
        directory.set_permissions(Permissions::from_mode(DIRECTORY_MODE))?;
        Ok(futimens(&directory, &STORE_TIMES)?)
    }

    fn link(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let directory = self.innermost()?;
        symlinkat(target, directory, name)?;
        Ok(utimensat(directory, name, &STORE_TIMES, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn file(&mut self, name: &OsStr, executable: bool, _: u64) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // Made with the mode that it keeps: changing that later costs as much as writing a small file.
        let mode = Mode::from_raw_mode(file_mode(executable));
        self.file = Some(openat(self.innermost()?, name, flags, mode)?.into());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.file.as_mut().ok_or_else(no_file)?.write_all(bytes)?;
        self.metered = self.metered.saturating_add(length);
        self.meter.add(length);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let file = self.file.take().ok_or_else(no_file)?;
        Ok(futimens(&file, &STORE_TIMES)?)
    }
}

fn no_file() -> io::Error {
    io::Error::other("no file began")
}

/// One thing that a follower is told.
enum Told {
    Enter(OsString),
    Leave,
    Link(OsString, OsString),
    File(OsString, bool, u64),
    Bytes(Vec<u8>),
    End,
}

/// Passes on what it is told, and does not wait for what comes of it.
struct Ahead(Sender<Told>);

impl Ahead {
    fn pass(&self, told: Told) -> io::Result<()> {
        self.0.send(told).map_err(|_| io::Error::other("nobody writes any longer"))
    }
}

impl Follower for Ahead {
    fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        self.pass(Told::Enter(name.to_owned()))
    }
    fn leave(&mut self) -> io::Result<()> {
        self.pass(Told::Leave)
    }
    fn link(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        self.pass(Told::Link(name.to_owned(), target.to_owned()))
    }
    fn file(&mut self, name: &OsStr, executable: bool, length: u64) -> io::Result<()> {
        self.pass(Told::File(name.to_owned(), executable, length))
    }
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pass(Told::Bytes(bytes.to_vec()))
    }
    fn end(&mut self) -> io::Result<()> {
        self.pass(Told::End)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use bedplate_tools::nix::archive;

    use super::*;
    use crate::report::Reporter;

    /// A tree with everything a store path may hold, one file of it large.
    fn tree(place: &Path) -> std::path::PathBuf {
        let tree = place.join("tree");
        fs::create_dir_all(tree.join("bin/empty")).unwrap();
        fs::write(tree.join("bin/run"), "run").unwrap();
        fs::set_permissions(tree.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(tree.join("large"), vec![7; 9 << 20]).unwrap();
        symlink("../absent", tree.join("bin/link")).unwrap();
        tree
    }

    fn copied(from: &Path, to: &Path, size: u64) -> io::Result<Content> {
        let reporter = Reporter::new(Vec::new());
        copy(from, to, size, &Meter::new(&reporter, "copy", size))
    }

    /// Directories of a store are sealed; who is not root cannot remove what is in them.
    fn unseal(path: &Path) {
        for entry in [path.to_owned(), path.join("bin"), path.join("bin/empty")] {
            fs::set_permissions(entry, Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn a_copy_is_the_same_tree_with_store_permissions_and_times_by_one_thread_and_by_two() {
        let place = tempfile::tempdir().unwrap();
        let from = tree(place.path());
        let wanted = archive::content(&from).unwrap();
        for (name, size) in [("one", 0), ("two", LARGE)] {
            let to = place.path().join(name);
            fs::create_dir(&to).unwrap();
            assert_eq!(copied(&from, &to, size).unwrap(), wanted);
            let made = to.join("tree");
            assert_eq!(archive::content(&made).unwrap(), wanted);
            for (part, mode) in [("", 0o555), ("bin", 0o555), ("bin/run", 0o555), ("large", 0o444)]
            {
                let found = fs::metadata(made.join(part)).unwrap();
                assert_eq!((found.mode() & 0o7777, found.mtime()), (mode, 1), "{part}");
            }
            assert_eq!(fs::symlink_metadata(made.join("bin/link")).unwrap().mtime(), 1);
            unseal(&made);
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_also_where_another_thread_writes() {
        let place = tempfile::tempdir().unwrap();
        let from = tree(place.path());
        for size in [0, LARGE] {
            let to = place.path().join(format!("to{size}"));
            fs::create_dir_all(to.join("tree")).unwrap();
            let error = copied(&from, &to, size).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        }
    }

    #[test]
    fn a_path_that_is_one_file_is_copied() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("file"), place.path().join("to"));
        fs::write(&from, "text").unwrap();
        fs::create_dir(&to).unwrap();
        assert_eq!(copied(&from, &to, 1).unwrap(), archive::content(&from).unwrap());
        assert_eq!(fs::read(to.join("file")).unwrap(), b"text");
    }
}
