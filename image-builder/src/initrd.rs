//! The initrd of the medium: modules, PID 1, and what PID 1 is told.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::boot::{BOOT_FILE, Boot};

use crate::error::{Error, file, unfit};
use bedplate_tools::cpio::Archive;

/// Writes the initrd of `parts` (archives, each compressed or not) and a last one with `boot`.
pub(crate) fn write(parts: &[PathBuf], boot: &Boot, output: &Path) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(fs::read(part).map_err(file("read", part))?);
        // The kernel looks for the next archive on a boundary of four bytes.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let text = serde_json::to_vec(boot);
    let text = text.map_err(|error| unfit("the boot file of", output, error.to_string()))?;
    let mut archive = Archive::new(bytes);
    let name = BOOT_FILE.trim_start_matches('/');
    archive.file(name, 0o444, &text).map_err(file("write", output))?;
    let bytes = archive.finish().map_err(file("write", output))?;
    fs::write(output, bytes).map_err(file("write", output))
}
