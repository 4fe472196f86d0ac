//! Files on a mounted ESP: what is written is durable before what it replaces is gone, and what is
//! read back is what the disk has.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{self, Chain, ENTRIES, IMAGES};
use bedplate_tools::{sync, vfat};

use super::wanted::{Part, Source};
use super::{GenerationError, file, names};

/// Where files of ours stand, and so where a power cut can leave one half done.
pub(super) const WRITTEN: [&str; 4] = [ENTRIES, "loader", IMAGES, "EFI/BOOT"];

/// An ESP.
#[derive(Debug)]
pub(super) struct Esp {
    /// Where it is mounted.
    pub(super) root: PathBuf,
    /// The partition. None when it is a directory, as in tests.
    device: Option<PathBuf>,
}

impl Esp {
    /// The one that is mounted at `root`. What others wrote there is on the disk from now on.
    pub(super) fn at(root: &Path) -> Result<Self, GenerationError> {
        let device = vfat::device(root).map_err(file("find the device of", root))?;
        sync::file_system(root).map_err(file("flush", root))?;
        Ok(Self { root: root.to_owned(), device })
    }

    /// Removes what a cut left half done.
    pub(super) fn tidy(&self) -> Result<(), GenerationError> {
        for directory in WRITTEN.map(|name| self.root.join(name)) {
            if directory.is_dir() {
                vfat::tidy(&directory).map_err(file("tidy", &directory))?;
            }
        }
        Ok(())
    }

    /// Names in a directory; none when there is no such directory.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>, GenerationError> {
        let directory = self.root.join(directory);
        let all = if directory.is_dir() { names(&directory)? } else { Vec::new() };
        Ok(all.into_iter().filter(|name| !vfat::is_staged(name)).collect())
    }

    /// A text; empty when it cannot be read.
    pub(super) fn text(&self, path: &str) -> String {
        text(&self.root.join(path))
    }

    /// Leaves one name to each boot entry: a cut while one is renamed, because it came up or was tried
    /// once more, leaves two names of one file, and whoever deletes or replaces one frees the other.
    pub(super) fn part_names(&self) -> Result<(), GenerationError> {
        let mut known: BTreeSet<(String, String)> = BTreeSet::new();
        let mut names = self.names(ENTRIES)?;
        // What came up stays, and then what has fewer tries left.
        names.sort_by_key(|name| (name.contains('+'), name.clone()));
        for name in names.into_iter().filter(|name| name.ends_with(".conf")) {
            let path = format!("{ENTRIES}/{name}");
            let plain = name.split('+').next().unwrap_or(&name).trim_end_matches(".conf");
            let same = (plain.to_ascii_lowercase(), self.text(&path));
            if !same.1.is_empty() && known.contains(&same) {
                let path = self.root.join(path);
                vfat::set_aside(&path).map_err(file("take one of two names of", &path))?;
            } else {
                known.insert(same);
            }
        }
        Ok(())
    }

    /// Whether the disk has this very file.
    pub(super) fn has(&self, part: &Part) -> Result<bool, GenerationError> {
        Ok(self.digest(&part.path)?.as_deref() == Some(&part.hash))
    }

    /// Hash of a file as the disk has it; none when it is not there.
    pub(super) fn digest(&self, path: &str) -> Result<Option<String>, GenerationError> {
        let full = self.root.join(path);
        match &self.device {
            Some(device) => boot_chain::hash_of(device, path).map_err(file("read back", &full)),
            None if full.is_file() => digest(&full).map(Some),
            None => Ok(None),
        }
    }

    /// Puts a file in its place, unless the disk has it.
    pub(super) fn put(&self, part: &Part) -> Result<(), GenerationError> {
        if self.has(part)? {
            return Ok(());
        }
        match &part.source {
            Source::Text(text) => self.replace(&part.path, text.as_bytes())?,
            Source::File(source) => {
                self.replace(&part.path, &fs::read(source).map_err(file("read", source))?)?;
            }
        }
        self.require(&part.path, &part.hash)
    }

    /// Whether the disk has this text.
    pub(super) fn holds(&self, path: &str, text: &str) -> Result<bool, GenerationError> {
        let hash = bedplate_tools::digest::of_bytes(text.as_bytes());
        Ok(self.digest(path)?.as_deref() == Some(&hash))
    }

    /// Writes a text, unless the disk has it.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), GenerationError> {
        if self.holds(path, text)? {
            return Ok(());
        }
        self.replace(path, text.as_bytes())?;
        self.require(path, &bedplate_tools::digest::of_bytes(text.as_bytes()))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), GenerationError> {
        let path = self.root.join(path);
        vfat::replace(&path, content).map_err(file("write", &path))
    }

    fn require(&self, path: &str, hash: &str) -> Result<(), GenerationError> {
        if self.digest(path)?.as_deref() == Some(hash) {
            Ok(())
        } else {
            Err(GenerationError::ReadBack { path: self.root.join(path) })
        }
    }

    /// Deletes a file.
    pub(super) fn remove(&self, path: &str) -> Result<(), GenerationError> {
        let path = self.root.join(path);
        vfat::remove(&path).map_err(file("remove", &path))
    }

    /// Everything the machine boots by, as the disk has it; none where there is no disk to look at.
    pub(super) fn chain(&self) -> Result<Option<Chain>, GenerationError> {
        let Some(device) = &self.device else { return Ok(None) };
        Chain::look(device).map(Some).map_err(file("look at", &self.root))
    }

    /// The firmware's loader leads to this entry, and it is whole.
    pub(super) fn require_bootable(&self, entry: &str) -> Result<(), GenerationError> {
        let Some(chain) = self.chain()? else { return Ok(()) };
        let mut faults: Vec<String> = chain.loaders.iter().map(ToString::to_string).collect();
        match chain.entries.iter().find(|found| found.name.eq_ignore_ascii_case(entry)) {
            Some(found) => faults.extend(found.faults.iter().map(ToString::to_string)),
            None => faults.push(format!("{ENTRIES}/{entry} is missing")),
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(GenerationError::Broken { esp: self.root.clone(), faults }),
        }
    }
}

/// A text of an ESP, whatever became of it; empty when it cannot be read.
pub(super) fn text(path: &Path) -> String {
    fs::read(path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into())
}

/// SHA-256 of a file.
pub(super) fn digest(path: &Path) -> Result<String, GenerationError> {
    File::open(path).and_then(bedplate_tools::digest::of_reader).map_err(file("read", path))
}
