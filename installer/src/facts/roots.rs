//! Where the kernel and udev show the machine, so that tests can show another one.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories facts are read from.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/run/udev/data`.
    pub udev: PathBuf,
    /// Where the booted medium is mounted.
    pub medium: PathBuf,
    /// Where the images of the medium are mounted.
    pub images: PathBuf,
    /// Whether devices are opened for signatures and LUKS tokens.
    pub probe: bool,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            proc: "/proc".into(),
            udev: "/run/udev/data".into(),
            medium: "/run/bedplate/medium".into(),
            images: "/run/bedplate".into(),
            probe: true,
        }
    }
}

/// The trimmed content of a file that says something.
pub fn text(path: &Path) -> Option<String> {
    let content = fs::read_to_string(path).ok()?;
    let content = content.trim();
    (!content.is_empty()).then(|| content.to_owned())
}

/// The number in a file.
pub fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Names in a directory, sorted; none when it cannot be read.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}
