//! What Nix knows the content of a store path by: the SHA-256 of its NAR serialisation.
//!
//! The format is that of Dolstra, "The Purely Functional Software Deployment Model", figure 5.2,
//! unchanged since: strings are a length in 64 bits, little endian, the bytes, and zeros up to a
//! multiple of 8.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

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

/// What stands at `path`: a file, a link or a directory with everything below it.
pub fn content(path: &Path) -> io::Result<Content> {
    let mut writer = Writer { hasher: Sha256::new(), size: 0 };
    writer.text(b"nix-archive-1");
    writer.node(path, DEPTH)?;
    let hash = writer.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Content { hash, size: writer.size })
}

struct Writer {
    hasher: Sha256,
    size: u64,
}

impl Writer {
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

    fn node(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        self.texts(&[b"(", b"type"]);
        if metadata.is_symlink() {
            self.texts(&[b"symlink", b"target", fs::read_link(path)?.as_os_str().as_bytes()]);
        } else if metadata.is_dir() {
            self.text(b"directory");
            self.directory(path, depth.checked_sub(1).ok_or_else(too_deep)?)?;
        } else if metadata.is_file() {
            self.text(b"regular");
            if metadata.permissions().mode() & 0o100 != 0 {
                self.texts(&[b"executable", b""]);
            }
            self.file(path, metadata.len())?;
        } else {
            return Err(io::Error::other(format!("{} has no place in a store", path.display())));
        }
        self.text(b")");
        Ok(())
    }

    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = entries.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            self.texts(&[b"entry", b"(", b"name", name.as_bytes(), b"node"]);
            self.node(&path.join(&name), depth)?;
            self.text(b")");
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, length: u64) -> io::Result<()> {
        self.text(b"contents");
        self.bytes(&length.to_le_bytes());
        let mut input = File::open(path)?;
        let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK).max(1))];
        let mut left = length;
        while left > 0 {
            let count = input.read(&mut buffer)?;
            let read = buffer.get(..count).unwrap_or_default();
            left = match left.checked_sub(count as u64) {
                Some(left) if count > 0 => left,
                _ => return Err(changed(path)),
            };
            self.bytes(read);
        }
        self.pad(length);
        Ok(())
    }
}

fn too_deep() -> io::Error {
    io::Error::other(format!("directories nest deeper than {DEPTH}"))
}

fn changed(path: &Path) -> io::Error {
    io::Error::other(format!("{} changed while it was read", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
