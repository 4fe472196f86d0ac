//! What the lab holds: `/var/lib/bedplate/lab.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::engine::LabError;
use bedplate_tools::atomic;

/// What the lab holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// Schema of this document, 1.
    pub schema: u32,
    /// The bridge of all copies.
    pub bridge: String,
    /// The machines that are copied.
    pub machines: Vec<String>,
}

/// Reads it; none when there is no lab.
pub(super) fn read(state: &Path) -> Result<Option<Lab>, LabError> {
    let path = path(state);
    let failed = |source: io::Error| LabError::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| LabError::Damaged { path: path.clone(), source }),
    }
}

/// Replaces it.
pub(super) fn write(state: &Path, lab: &Lab) -> Result<(), LabError> {
    let path = path(state);
    let failed =
        |error: serde_json::Error| LabError::File { path: path.clone(), source: error.into() };
    let text = serde_json::to_string_pretty(lab).map_err(failed)?;
    Ok(atomic::write(&path, &format!("{text}\n"), 0o644)?)
}

/// Forgets it.
pub(super) fn remove(state: &Path) -> Result<(), LabError> {
    let path = path(state);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LabError::File { path, source: error })
        }
        _ => Ok(()),
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("lab.json")
}
