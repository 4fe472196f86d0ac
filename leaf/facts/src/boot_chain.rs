//! Whether an EFI system partition boots something: every file from the firmware's loader to the initrd,
//! by content, read from the disk past the kernel's cache and never mounted.
//!
//! What a file should be is known from three places:
//!
//! - A kernel or initrd of ours is named by the first half of its SHA-256.
//! - `EFI/bedplate/HASH-chain` says it of any other file, in the format of `sha256sum`. Its own name is
//!   the hash of it, so that a torn one counts for nothing, and a newer one can stand beside it.
//! - A boot entry of ours ends in a comment with the hash of what stands before it.
//!
//! What none of them speaks of must be there as long as the volume says, and start as an EFI program.

mod entry;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

use bedplate_tools::direct::Direct;
use sha2::{Digest as _, Sha256};

use self::entry::{Order, values};
pub use self::entry::{Sealed, seal, unsealed};
use self::volume::Volume;

/// What is said of a file that holds nothing.
const EMPTY: &str = "is empty";
/// What is said of a boot entry that holds nothing.
pub const EMPTY_ENTRY: &str = "is empty, or cannot be read";
/// What the firmware starts from a disk it knows nothing of (UEFI 2.10, 3.5.1.1).
pub const FIRST: &str = "EFI/BOOT/BOOTX64.EFI";
/// What shim starts (`DEFAULT_LOADER` of shim).
pub const SECOND: &str = "EFI/BOOT/grubx64.efi";
/// Where boot entries stand (Boot Loader Specification).
pub const ENTRIES: &str = "loader/entries";
/// Where files of ours stand that are named by their content.
pub const IMAGES: &str = "EFI/bedplate";
/// What the name of a list of hashes ends in.
const LIST: &str = "-chain";
/// How much of a hash stands in a name, in digits.
const DIGITS: usize = 32;
/// Longest list or entry that is read, in bytes.
const LARGEST: u64 = 64 << 10;
/// Longest loader that is searched for what it starts, in bytes.
const LOADER: u64 = 32 << 20;

/// A file that is not what the chain needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its path on the partition.
    pub path: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", bedplate_events::shown::shown(&self.path), self.what)
    }
}

/// A boot entry, and what of what it names is not right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of its file.
    pub name: String,
    /// Faults; none when it is whole.
    pub faults: Vec<Fault>,
}

/// Everything that a machine boots by from one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Faults of what the firmware starts, and of what that starts.
    pub loaders: Vec<Fault>,
    /// Faults of files that the machine starts without: shim's manager of keys, `loader.conf`.
    pub others: Vec<Fault>,
    /// The boot entries, in the order in which they would be started.
    pub entries: Vec<Entry>,
}

impl Chain {
    /// Looks at all of a partition, or at an image of one.
    pub fn look(partition: &Path) -> io::Result<Self> {
        let volume = Volume::of(Direct::open(partition)?)?;
        let mut checker = Checker::new(&volume);
        let (loaders, others) = (checker.loaders(), checker.others());
        let entries = checker
            .ordered()
            .into_iter()
            .map(|(name, text)| Entry { faults: checker.entry(&name, &text), name });
        Ok(Self { entries: entries.collect(), loaders, others })
    }

    /// Whether the machine starts from here.
    pub fn is_bootable(&self) -> bool {
        let entries =
            self.entries.iter().map(|entry| (entry.name.as_str(), entry.faults.is_empty()));
        self.loaders.is_empty() && leads_on(entries)
    }

    /// All faults, each once.
    pub fn faults(&self) -> Vec<String> {
        let entries = self.entries.iter().flat_map(|entry| &entry.faults);
        let mut found: Vec<String> = self
            .loaders
            .iter()
            .chain(&self.others)
            .chain(entries)
            .map(ToString::to_string)
            .collect();
        found.sort();
        found.dedup();
        if self.entries.is_empty() {
            found.push("there is no boot entry".to_owned());
        }
        found
    }
}

/// The SHA-256 of a file of a partition, as the disk has it; none when it is not there, or not all of it.
pub fn hash_of(partition: &Path, path: &str) -> io::Result<Option<String>> {
    let volume = Volume::of(Direct::open(partition)?)?;
    Ok(match Checker::new(&volume).read(&key(path)) {
        Ok(seen) => Some(seen.hash),
        Err(EMPTY) => Some(hexadecimal(&Sha256::digest([]))),
        Err(_) => None,
    })
}

/// Whether a machine starts from a partition. It reads no more than it takes to know.
pub fn is_bootable(partition: &Path) -> bool {
    let volume = Direct::open(partition).and_then(Volume::of);
    let Ok(volume) = volume else { return false };
    let mut checker = Checker::new(&volume);
    if !checker.loaders().is_empty() {
        return false;
    }
    let ordered = checker.ordered();
    leads_on(ordered.iter().map(|(name, text)| (name, checker.entry(name, text).is_empty())))
}

/// An entry on trial that does not start gives way to the next one; any other one stays first for ever.
fn leads_on(entries: impl Iterator<Item = (impl AsRef<str>, bool)>) -> bool {
    for (name, is_whole) in entries {
        if is_whole {
            return true;
        }
        if !name.as_ref().contains('+') {
            return false;
        }
    }
    false
}

/// A list of hashes of files, as it stands on the partition: its path and its text. `files` are paths
/// on the partition and SHA-256 in hexadecimal.
pub fn list<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> (String, String) {
    let text: String = files.into_iter().map(|(path, hash)| format!("{hash}  {path}\n")).collect();
    let hash = hexadecimal(&Sha256::digest(&text));
    (format!("{IMAGES}/{}{LIST}", hash.get(..DIGITS).unwrap_or(&hash)), text)
}

/// Paths of what an entry starts or hands on, from the root of the partition.
pub fn images_of(entry: &str) -> Vec<String> {
    let all = ["linux", "efi", "initrd"].into_iter().flat_map(|key| values(entry, key));
    all.map(|path| path.replace('\\', "/").trim_start_matches('/').to_owned()).collect()
}

/// Whether a file of this name is a list of hashes.
pub fn is_list(name: &str) -> bool {
    name.strip_suffix(LIST).is_some_and(is_hash)
}

/// The name of an image of ours: the hash of its content and what it is.
pub fn image_name(hash: &str, kind: &str) -> String {
    format!("{IMAGES}/{}-{kind}", hash.get(..DIGITS).unwrap_or(hash))
}

fn is_hash(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the name of a file says of its content.
fn named(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let (hash, _) = name.split_once('-')?;
    (path.to_ascii_lowercase().starts_with(&IMAGES.to_ascii_lowercase()) && is_hash(hash))
        .then_some(hash)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FAT names are the same in either case, and entries may write them with either slash.
fn key(path: &str) -> String {
    path.replace('\\', "/").trim_matches('/').to_ascii_lowercase()
}

/// What a file was found to be.
#[derive(Debug, Clone)]
struct Seen {
    hash: String,
    is_program: bool,
    /// Whether it is shim: it names what it starts.
    has_second: bool,
}

struct Checker<'a> {
    volume: &'a Volume,
    listed: BTreeMap<String, BTreeSet<String>>,
    seen: BTreeMap<String, Result<Seen, &'static str>>,
}

impl<'a> Checker<'a> {
    fn new(volume: &'a Volume) -> Self {
        let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in volume.names(IMAGES).into_iter().filter(|name| is_list(name)) {
            let text = volume.text(&format!("{IMAGES}/{name}"), LARGEST).unwrap_or_default();
            let hash = hexadecimal(&Sha256::digest(&text));
            if !name.eq_ignore_ascii_case(&format!("{}{LIST}", hash.get(..DIGITS).unwrap_or("-"))) {
                continue;
            }
            for (hash, path) in text.lines().filter_map(|line| line.split_once("  ")) {
                listed.entry(key(path)).or_default().insert(hash.to_owned());
            }
        }
        Self { volume, listed, seen: BTreeMap::new() }
    }

    fn loaders(&mut self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.file(FIRST, true).into_iter().collect();
        let is_shim = matches!(self.seen.get(&key(FIRST)), Some(Ok(seen)) if seen.has_second);
        if is_shim || self.listed.contains_key(&key(SECOND)) {
            faults.extend(self.file(SECOND, true));
        }
        faults
    }

    fn others(&mut self) -> Vec<Fault> {
        let others: Vec<String> = self.listed.keys().cloned().collect();
        let others = others.iter().filter(|path| ![key(FIRST), key(SECOND)].contains(path));
        others.filter_map(|path| self.file(path, false)).collect()
    }

    fn ordered(&self) -> Vec<(String, String)> {
        let mut entries: Vec<(Order, String, String)> = Vec::new();
        let default = self.volume.text("loader/loader.conf", LARGEST).unwrap_or_default();
        let default = values(&default, "default").next().map(str::to_owned);
        for name in self.volume.names(ENTRIES).into_iter().filter(|name| name.ends_with(".conf")) {
            let text = self.volume.text(&format!("{ENTRIES}/{name}"), LARGEST).unwrap_or_default();
            entries.push((Order::of(&name, &text, default.as_deref()), name, text));
        }
        entries.sort();
        entries.into_iter().map(|(_, name, text)| (name, text)).collect()
    }

    fn entry(&mut self, name: &str, text: &str) -> Vec<Fault> {
        let path = format!("{ENTRIES}/{name}");
        let fault = |what| vec![Fault { path: path.clone(), what }];
        match unsealed(text) {
            Sealed::Broken => return fault("is torn: what it says is not what was written"),
            Sealed::No if text.is_empty() => return fault(EMPTY_ENTRY),
            // One of a version that sealed nothing: this is its last line.
            Sealed::No
                if name.starts_with("bedplate-")
                    && !(text.ends_with('\n') && values(text, "options").count() == 1) =>
            {
                return fault("is torn: it ends too early");
            }
            Sealed::No | Sealed::Whole(_) => {}
        }
        let kernels: Vec<&str> = values(text, "linux").chain(values(text, "efi")).collect();
        let [kernel] = kernels.as_slice() else { return fault("does not name one kernel") };
        let mut faults: Vec<Fault> = self.file(kernel, true).into_iter().collect();
        for initrd in values(text, "initrd") {
            faults.extend(self.file(initrd, false));
        }
        faults
    }

    /// What is wrong with a file. `is_program`: the firmware starts it.
    fn file(&mut self, path: &str, is_program: bool) -> Option<Fault> {
        let key = key(path);
        if !self.seen.contains_key(&key) {
            let seen = self.read(&key);
            self.seen.insert(key.clone(), seen);
        }
        let what = match self.seen.get(&key)? {
            Err(what) => *what,
            Ok(seen) => match (self.listed.get(&key), named(&key)) {
                (Some(hashes), _) if hashes.contains(&seen.hash) => return None,
                (None, Some(hash)) if seen.hash.starts_with(hash) => return None,
                (None, None) if seen.is_program || !is_program => return None,
                (None, None) => "is no EFI program",
                _ => "holds something else than was written",
            },
        };
        Some(Fault { path: path.trim_start_matches('/').to_owned(), what })
    }

    fn read(&self, path: &str) -> Result<Seen, &'static str> {
        let mut hasher = Sha256::new();
        let (mut length, mut start) = (0_u64, Vec::new());
        let wanted = self.volume.read(path, &mut |piece| {
            hasher.update(piece);
            length += piece.len() as u64;
            if length <= LOADER && path == key(FIRST) || start.len() < 2 {
                start.extend_from_slice(piece);
            }
        })?;
        if wanted == 0 {
            return Err(EMPTY);
        }
        if length != wanted {
            return Err("is cut short: its clusters are not all there");
        }
        let name: Vec<u8> = "grubx64.efi".encode_utf16().flat_map(u16::to_le_bytes).collect();
        Ok(Seen {
            hash: hexadecimal(&hasher.finalize()),
            // PE/COFF, which begins with the stub of MS-DOS.
            is_program: start.starts_with(b"MZ"),
            has_second: path == key(FIRST)
                && start.windows(name.len()).any(|window| window == name.as_slice()),
        })
    }
}

#[cfg(test)]
mod tests;
