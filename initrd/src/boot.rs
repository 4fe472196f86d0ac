//! The document that says what to bring up.

use std::fs;
use std::path::Path;

use bedplate_formats::boot::{BOOT_FILE, Boot};

use crate::error::Error;

/// Reads it from the initrd.
pub(crate) fn read() -> Result<Boot, Error> {
    let path = Path::new(BOOT_FILE);
    let text = fs::read(path).map_err(|source| Error::file("read", path, source))?;
    serde_json::from_slice(&text).map_err(Error::Boot)
}
