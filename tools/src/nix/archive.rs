//! What Nix knows the content of a store path by: the SHA-256 of its NAR serialisation.
//!
//! The format is that of Dolstra, "The Purely Functional Software Deployment Model", figure 5.2,
//! unchanged since: strings are a length in 64 bits, little endian, the bytes, and zeros up to a
//! multiple of 8.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// No tree in a store nests deeper.
const DEPTH: usize = 256;

/// A content as a registration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the serialisation, hexadecimal.
    pub hash: String,
    /// Length of the serialisation in bytes.
    pub size: u64,
}

/// Is told what stands in a tree while it is read: the same bytes that are hashed, in the order
/// of the serialisation.
pub trait Follower {
    /// A directory begins; what comes next stands in it.
    fn enter(&mut self, name: &OsStr) -> io::Result<()>;
    /// The innermost directory ends.
    fn leave(&mut self) -> io::Result<()>;
    /// A symbolic link.
    fn link(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()>;
    /// A file of so many bytes begins.
    fn file(&mut self, name: &OsStr, executable: bool, length: u64) -> io::Result<()>;
    /// The next bytes of the file.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file ends.
    fn end(&mut self) -> io::Result<()>;
}

/// Nobody follows.
struct Nobody;

impl Follower for Nobody {
    fn enter(&mut self, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
    fn leave(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn link(&mut self, _: &OsStr, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
    fn file(&mut self, _: &OsStr, _: bool, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands at `path`: a file, a link or a directory with everything below it.
pub fn content(path: &Path) -> io::Result<Content> {
    content_followed(path, &mut Nobody)
}

/// As [`content`], with somebody who is told of everything as it is read. The name of what stands
/// at `path` is the last part of it.
pub fn content_followed(path: &Path, follower: &mut dyn Follower) -> io::Result<Content> {
    let mut reading = Reading {
        hasher: Sha256::new(),
        size: 0,
        buffer: vec![0; CHUNK],
        at: path.to_owned(),
        follower,
    };
    reading.text(b"nix-archive-1");
    let found = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from);
    found
        .and_then(|found| {
            let kind = FileType::from_raw_mode(found.st_mode);
            let name = path.file_name().unwrap_or_default();
            reading.node(CWD, Node { place: path.as_os_str(), name, kind }, DEPTH)
        })
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", reading.at.display()))
        })?;
    let hash = reading.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Content { hash, size: reading.size })
}

struct Reading<'a> {
    hasher: Sha256,
    size: u64,
    buffer: Vec<u8>,
    /// What is read now, for errors.
    at: PathBuf,
    follower: &'a mut dyn Follower,
}

/// Where something stands below an open directory, and what it is.
#[derive(Clone, Copy)]
struct Node<'a> {
    place: &'a OsStr,
    name: &'a OsStr,
    kind: FileType,
}

impl Reading<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
    }

    fn pad(&mut self, length: u64) {
        let zeros = usize::try_from(length.next_multiple_of(8) - length).unwrap_or_default();
        self.bytes([0; 8].get(..zeros).unwrap_or_default());
    }

    fn text(&mut self, text: &[u8]) {
        let length = text.len() as u64;
        self.bytes(&length.to_le_bytes());
        self.bytes(text);
        self.pad(length);
    }

    fn texts(&mut self, texts: &[&[u8]]) {
        for text in texts {
            self.text(text);
        }
    }

    fn node(&mut self, beside: BorrowedFd<'_>, node: Node<'_>, depth: usize) -> io::Result<()> {
        self.texts(&[b"(", b"type"]);
        match node.kind {
            FileType::Symlink => {
                let target = readlinkat(beside, node.place, Vec::new())?;
                self.texts(&[b"symlink", b"target", target.to_bytes()]);
                self.follower.link(node.name, OsStr::from_bytes(target.to_bytes()))?;
            }
            FileType::Directory => {
                self.text(b"directory");
                self.follower.enter(node.name)?;
                self.directory(beside, node, depth.checked_sub(1).ok_or_else(too_deep)?)?;
                self.follower.leave()?;
            }
            FileType::RegularFile => self.file(beside, node)?,
            _ => return Err(io::Error::other("has no place in a store")),
        }
        self.text(b")");
        Ok(())
    }

    fn directory(
        &mut self,
        beside: BorrowedFd<'_>,
        node: Node<'_>,
        depth: usize,
    ) -> io::Result<()> {
        let open = opened(beside, node.place, OFlags::DIRECTORY)?;
        for (name, kind) in entries(&open)? {
            self.at.push(&name);
            self.texts(&[b"entry", b"(", b"name", name.as_bytes(), b"node"]);
            self.node(open.as_fd(), Node { place: &name, name: &name, kind }, depth)?;
            self.text(b")");
            self.at.pop();
        }
        Ok(())
    }

    fn file(&mut self, beside: BorrowedFd<'_>, node: Node<'_>) -> io::Result<()> {
        let mut input = opened(beside, node.place, OFlags::empty())?;
        let found = fstat(&input)?;
        let length = u64::try_from(found.st_size).map_err(io::Error::other)?;
        let executable = found.st_mode & 0o100 != 0;
        self.text(b"regular");
        if executable {
            self.texts(&[b"executable", b""]);
        }
        self.text(b"contents");
        self.bytes(&length.to_le_bytes());
        self.follower.file(node.name, executable, length)?;
        let mut left = length;
        while left > 0 {
            let count = input.read(&mut self.buffer)?;
            let read = self.buffer.get(..count).unwrap_or_default();
            left = match left.checked_sub(count as u64) {
                Some(left) if count > 0 => left,
                _ => return Err(io::Error::other("changed while it was read")),
            };
            self.hasher.update(read);
            self.follower.bytes(read)?;
        }
        self.size = self.size.saturating_add(length);
        self.pad(length);
        self.follower.end()
    }
}

fn opened(beside: BorrowedFd<'_>, place: &OsStr, kind: OFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
    Ok(File::from(openat(beside, place, flags, Mode::empty())?))
}

/// What stands in a directory, as the serialisation orders it.
fn entries(open: &File) -> io::Result<Vec<(OsString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(open)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Not every file system says it there.
            FileType::Unknown => {
                let found = statat(open, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(found.st_mode)
            }
            kind => kind,
        };
        entries.push((OsString::from_vec(name.to_bytes().to_vec()), kind));
    }
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(entries)
}

fn too_deep() -> io::Error {
    io::Error::other(format!("directories nest deeper than {DEPTH}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Hashes and sizes are what `nix-store --dump` of Nix 2.26 gave for the same.
    #[test]
    fn contents_are_named_as_nix_names_them() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/run"), "run\n").unwrap();
        fs::set_permissions(root.join("bin/run"), fs::Permissions::from_mode(0o555)).unwrap();
        fs::write(root.join("empty"), "").unwrap();
        fs::write(root.join("12345678"), "12345678").unwrap();
        fs::write(root.join("B"), "é").unwrap();
        symlink("bin/run", root.join("link")).unwrap();
        fs::create_dir(root.join("nothing")).unwrap();
        let of = |name: &str| {
            let found = content(&root.join(name)).unwrap();
            (found.hash, found.size)
        };
        assert_eq!(
            of(""),
            ("c9da2d7f58281172dcd78f9ab4cf5c941d5b50d7666f54ca10a1dd8a797f24fc".into(), 1416)
        );
        assert_eq!(
            of("B"),
            ("184a5d06e2778036a5a5173a11a4e3986c70bdb3931e4ed97ad81527beb377a9".into(), 120)
        );
        assert_eq!(
            of("link"),
            ("5117866d6ef58d5040d76249d96205f1e0a658629eb7be9cda198fe23ba8a557".into(), 120)
        );
    }

    #[test]
    fn what_belongs_in_no_store_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.path().join("s")).unwrap();
        assert!(content(place.path()).unwrap_err().to_string().contains("no place in a store"));
        assert!(content(&place.path().join("absent")).is_err());
    }
}
