//! What an ESP holds of one generation, derived from its toplevel.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{self, image_name};

use super::esp::digest;
use super::{GenerationError, file};

/// What the firmware starts, from the tree, in the order it is written.
pub(super) const LOADERS: &[(&str, &str)] = &[
    ("usr/lib/shim/mmx64.efi.signed", "EFI/BOOT/mmx64.efi"),
    ("usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed", boot_chain::SECOND),
    ("usr/lib/shim/shimx64.efi.signed", boot_chain::FIRST),
];

/// Without `auto-firmware` a disk whose installation was cut off before it had an entry would wait in
/// the firmware's setup; so the firmware goes on to what it starts next, which is the medium
/// (`loader.conf(5)`; the key `f` still leads there).
const LOADER: &str = "timeout 2\nconsole-mode keep\neditor no\nauto-firmware no\n";
/// Where that stands.
const CONFIGURATION: &str = "loader/loader.conf";

/// A file of an ESP and what it is to hold.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its path on the ESP.
    pub(super) path: String,
    /// SHA-256 of its content.
    pub(super) hash: String,
    /// Length of the file, in bytes.
    pub(super) size: u64,
    pub(super) source: Source,
}

/// Where content comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A file of the store.
    File(PathBuf),
    /// Known here.
    Text(String),
}

impl Part {
    pub(super) fn file(path: &str, source: &Path) -> Result<Self, GenerationError> {
        let size = fs::metadata(source).map_err(file("read", source))?.len();
        let hash = digest(source)?;
        Ok(Self { path: path.to_owned(), hash, size, source: Source::File(source.to_owned()) })
    }

    fn text(path: &str, text: &str) -> Self {
        let hash = bedplate_tools::digest::of_bytes(text.as_bytes());
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, hash, size: text.len() as u64, source: Source::Text(text) }
    }

    fn image(source: &Path, kind: &str) -> Result<Self, GenerationError> {
        let mut part = Self::file("", source)?;
        part.path = image_name(&part.hash, kind);
        Ok(part)
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Kernel and initrd, named by their content.
    pub(super) images: Vec<Part>,
    /// What is started before, in the order it is written.
    pub(super) loaders: Vec<Part>,
    /// Hashes of `loaders`.
    pub(super) list: Part,
    /// Text of the entry.
    pub(super) entry: String,
}

impl Wanted {
    pub(super) fn of(toplevel: &Path, number: u64) -> Result<Self, GenerationError> {
        let kernel = Part::image(&toplevel.join("kernel"), "kernel")?;
        let initrd = Part::image(&toplevel.join("initrd"), "initrd")?;
        let mut loaders = Vec::new();
        for (source, path) in LOADERS {
            loaders.push(Part::file(path, &toplevel.join("tree").join(source))?);
        }
        loaders.push(Part::text(CONFIGURATION, LOADER));
        let hashes = loaders.iter().map(|part| (part.path.as_str(), part.hash.as_str()));
        let (path, text) = boot_chain::list(hashes);
        let list = Part::text(&path, &text);
        let parameters = toplevel.join("kernel-params");
        let parameters = fs::read_to_string(&parameters).map_err(file("read", &parameters))?;
        let entry = super::entry(number, toplevel, &kernel.path, &initrd.path, parameters.trim());
        Ok(Self { images: vec![kernel, initrd], loaders, list, entry })
    }

    /// Every file but the entry.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.images.iter().chain([&self.list]).chain(&self.loaders)
    }
}
