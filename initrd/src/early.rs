//! The kernel's own file systems.

use std::fs;
use std::path::Path;

use bedplate_tools::mount::{Access, Mount};

use crate::error::Error;

/// Source and type, directory, options; each later moves into the new root.
pub(crate) const MOUNTS: [(&str, &str, &str); 4] = [
    ("devtmpfs", "/dev", "mode=0755"),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("tmpfs", "/run", "mode=0755"),
];

/// Mounts them, unless that was done before this program started itself again.
pub(crate) fn mount() -> Result<(), Error> {
    for (kind, target, options) in MOUNTS {
        let target = Path::new(target);
        make_directory(target)?;
        if is_mounted(target) {
            continue;
        }
        let mount = Mount { source: kind, target, kind, access: Access::ReadWrite, options };
        mount.mount()?;
    }
    Ok(())
}

/// Makes a directory and its parents.
pub(crate) fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::file("make", path, source))
}

fn is_mounted(target: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts")
        .is_ok_and(|text| text.lines().any(|line| line.split(' ').nth(1) == target.to_str()))
}
