//! What Nix knows the content of a store path by: the SHA-256 of its NAR serialisation.
//!
//! The format is that of Dolstra, "The Purely Functional Software Deployment Model", figure 5.2,
//! unchanged since: strings are a length in 64 bits, little endian, the bytes, and zeros up to a
//! multiple of 8.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

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

/// What is told of a content while it is hashed, in the order of the serialisation: a copy of it, for
/// one. Each name is that of an entry of the directory that was begun last and is not ended, the first
/// one the name that was given for the whole.
pub trait Witness {
    /// A directory begins.
    fn directory(&mut self, name: &OsStr) -> io::Result<()>;
    /// The directory has no more entries.
    fn directory_ends(&mut self) -> io::Result<()>;
    /// A symbolic link.
    fn link(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()>;
    /// A file begins; its bytes follow.
    fn file(&mut self, name: &OsStr, executable: bool) -> io::Result<()>;
    /// Bytes of the file, hashed meanwhile.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file has no more bytes.
    fn file_ends(&mut self) -> io::Result<()>;
}

/// Nobody: the content is hashed and that is all.
impl Witness for () {
    fn directory(&mut self, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
    fn directory_ends(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn link(&mut self, _: &OsStr, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
    fn file(&mut self, _: &OsStr, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn file_ends(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands at `path`: a file, a link or a directory with everything below it.
pub fn content(path: &Path) -> io::Result<Content> {
    content_before(path, OsStr::new(""), &mut ())
}

/// As [`content`], with a witness of all that is read; to it the whole has the name `name`.
pub fn content_before(
    path: &Path,
    name: &OsStr,
    witness: &mut (dyn Witness + Send),
) -> io::Result<Content> {
    let mut writer = Writer { hasher: Sha256::new(), size: 0, buffer: Vec::new(), witness };
    writer.text(b"nix-archive-1");
    let whole = Entry { name: path.as_os_str().to_owned(), kind: FileType::Unknown };
    writer.node(CWD, &whole, name, DEPTH)?;
    let hash = writer.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Content { hash, size: writer.size })
}

struct Writer<'a> {
    hasher: Sha256,
    size: u64,
    /// For what is read, kept from file to file.
    buffer: Vec<u8>,
    witness: &'a mut (dyn Witness + Send),
}

impl Writer<'_> {
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

    /// An entry of `parent`; `name` is what the witness knows it by.
    fn node(
        &mut self,
        parent: BorrowedFd<'_>,
        entry: &Entry,
        name: &OsStr,
        depth: usize,
    ) -> io::Result<()> {
        self.texts(&[b"(", b"type"]);
        let place = &entry.name;
        match entry.kind(parent)? {
            FileType::Symlink => {
                let target = readlinkat(parent, place, Vec::new())?.into_bytes();
                self.texts(&[b"symlink", b"target", &target]);
                self.witness.link(name, &OsString::from_vec(target))?;
            }
            FileType::Directory => {
                self.text(b"directory");
                self.witness.directory(name)?;
                let directory = open(parent, place, OFlags::DIRECTORY)?;
                self.entries(&directory, depth.checked_sub(1).ok_or_else(too_deep)?)?;
                self.witness.directory_ends()?;
            }
            FileType::RegularFile => {
                self.text(b"regular");
                // Without waiting, should it have become a pipe meanwhile.
                self.file(open(parent, place, OFlags::NONBLOCK)?.into(), name)?;
            }
            _ => return Err(io::Error::other(format!("{} has no place in a store", shown(place)))),
        }
        self.text(b")");
        Ok(())
    }

    fn entries(&mut self, directory: &OwnedFd, depth: usize) -> io::Result<()> {
        let mut entries = Vec::new();
        for found in Dir::read_from(directory)? {
            let found = found?;
            let name = OsStr::from_bytes(found.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                entries.push(Entry { name, kind: found.file_type() });
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            self.texts(&[b"entry", b"(", b"name", entry.name.as_bytes(), b"node"]);
            self.node(directory.as_fd(), &entry, &entry.name, depth)?;
            self.text(b")");
        }
        Ok(())
    }

    fn file(&mut self, mut input: File, name: &OsStr) -> io::Result<()> {
        let found = fstat(&input)?;
        let length = u64::try_from(found.st_size).unwrap_or_default();
        let executable = found.st_mode & 0o100 != 0;
        if executable {
            self.texts(&[b"executable", b""]);
        }
        self.text(b"contents");
        self.bytes(&length.to_le_bytes());
        self.witness.file(name, executable)?;
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(buffer.len().max(most), 0);
            let count = input.read(buffer.get_mut(..most).unwrap_or_default())?;
            if count == 0 {
                return Err(changed(name));
            }
            self.file_bytes(buffer.get(..count).unwrap_or_default())?;
            left = left.saturating_sub(count as u64);
            self.buffer = buffer;
        }
        self.pad(length);
        self.witness.file_ends()
    }

    /// What fills the buffer is hashed beside what the witness does with it.
    fn file_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < CHUNK {
            self.bytes(bytes);
            return self.witness.bytes(bytes);
        }
        self.size = self.size.saturating_add(bytes.len() as u64);
        let (hasher, witness) = (&mut self.hasher, &mut *self.witness);
        std::thread::scope(|scope| {
            scope.spawn(|| hasher.update(bytes));
            witness.bytes(bytes)
        })
    }
}

/// Something in a directory.
struct Entry {
    name: OsString,
    /// As the directory says, which saves asking for each; some say nothing.
    kind: FileType,
}

impl Entry {
    fn kind(&self, parent: BorrowedFd<'_>) -> io::Result<FileType> {
        if self.kind != FileType::Unknown {
            return Ok(self.kind);
        }
        let found = statat(parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode))
    }
}

fn open(parent: BorrowedFd<'_>, place: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, place, flags, Mode::empty())?)
}

fn shown(place: &OsStr) -> String {
    place.to_string_lossy().escape_debug().to_string()
}

fn too_deep() -> io::Error {
    io::Error::other(format!("directories nest deeper than {DEPTH}"))
}

fn changed(name: &OsStr) -> io::Error {
    io::Error::other(format!("{} changed while it was read", shown(name)))
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
