//! A FAT volume as it stands on a disk.

use std::io::{self, Read as _};

use bedplate_tools::direct::Direct;
use fatfs::{Dir, DirEntry, FileSystem, FsOptions};

/// Most files of one directory that are looked at.
const MOST: usize = 4096;
/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;

pub(super) struct Volume(FileSystem<Direct>);

impl Volume {
    pub(super) fn of(device: Direct) -> io::Result<Self> {
        Ok(Self(FileSystem::new(device, FsOptions::new())?))
    }

    /// Names of the files in a directory; none when it cannot be read.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(directory) = self.0.root_dir().open_dir(directory) else { return Vec::new() };
        let files = directory.iter().take(MOST).flatten().filter(DirEntry::is_file);
        let mut names: Vec<String> = files.map(|file| file.file_name()).collect();
        names.sort();
        names
    }

    /// A text that is not longer than `limit`, all of it.
    pub(super) fn text(&self, path: &str, limit: u64) -> Option<String> {
        let mut bytes = Vec::new();
        let wanted =
            self.read_up_to(path, limit, &mut |piece| bytes.extend_from_slice(piece)).ok()?;
        (bytes.len() as u64 == wanted).then(|| String::from_utf8(bytes).ok()).flatten()
    }

    /// Hands out the content of a file; returns how long its directory says that it is.
    pub(super) fn read(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, &'static str> {
        self.read_up_to(path, u64::MAX, take)
    }

    fn read_up_to(
        &self,
        path: &str,
        limit: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, &'static str> {
        let entry = find(self.0.root_dir(), path).map_err(|_| "cannot be read")?;
        let entry = entry.ok_or("is missing")?;
        let length = entry.len();
        if length > limit {
            return Err("is too long");
        }
        let (mut file, mut buffer) = (entry.to_file(), vec![0; PIECE]);
        loop {
            let count = file.read(&mut buffer).map_err(|_| "cannot be read")?;
            match buffer.get(..count) {
                Some(piece) if count > 0 => take(piece),
                _ => return Ok(length),
            }
        }
    }
}

fn find<'a>(root: Dir<'a, Direct>, path: &str) -> io::Result<Option<DirEntry<'a, Direct>>> {
    let mut directory = root;
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let mut found = None;
        for entry in directory.iter().take(MOST) {
            let entry = entry?;
            let names = [entry.file_name(), entry.short_file_name()];
            if names.iter().any(|name| name.eq_ignore_ascii_case(part)) {
                found = Some(entry);
                break;
            }
        }
        match found {
            Some(entry) if is_last && entry.is_file() => return Ok(Some(entry)),
            Some(entry) if !is_last && entry.is_dir() => directory = entry.to_dir(),
            _ => return Ok(None),
        }
    }
    Ok(None)
}
