//! Where the kernel and udev show the machine, so that tests can show another one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::probe::Probe;

/// The directories facts are read from.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`, where the kernel shows disks, NICs and firmware.
    pub sys: PathBuf,
    /// `/dev`, with the device nodes and their stable names.
    pub dev: PathBuf,
    /// `/proc`, where the kernel shows memory and mounts.
    pub proc: PathBuf,
    /// `/run/udev/data`, where udev keeps the properties of devices.
    pub udev: PathBuf,
    /// Where the booted medium is mounted.
    pub medium: PathBuf,
    /// Where the images of the medium are mounted.
    pub images: PathBuf,
    /// How devices are looked into for signatures and LUKS tokens; none leaves them closed.
    pub probe: Option<Probe>,
}

impl Roots {
    /// This machine, with a look into every device.
    pub fn looking(probe: Probe) -> Self {
        Self::below(Path::new("/"), Some(probe))
    }

    /// This machine without a look into devices: their content is not known, not blank.
    pub fn identity() -> Self {
        Self::below(Path::new("/"), None)
    }

    /// The machine that a directory shows as `/` does.
    pub fn below(root: &Path, probe: Option<Probe>) -> Self {
        Self {
            sys: root.join("sys"),
            dev: root.join("dev"),
            proc: root.join("proc"),
            udev: root.join("run/udev/data"),
            medium: "/run/bedplate/medium".into(),
            images: "/run/bedplate".into(),
            probe,
        }
    }
}

/// The trimmed content of a file that says something.
pub fn text(path: &Path) -> Option<String> {
    let content = fs::read(path).ok()?;
    // Firmware pads names with NULs and gives bytes that are no text.
    let content = String::from_utf8_lossy(&content);
    let content = content.trim_matches(|c: char| c.is_whitespace() || c == '\0');
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
