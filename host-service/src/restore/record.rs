//! How far a restore is: `.bedplate-restore/NAME.json` on the pool of the backup's first path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DIRECTORY;
use super::engine::RestoreError;
use bedplate_tools::atomic;

/// How far a restore is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Schema of this document, 1.
    pub schema: u32,
    /// restic's id of the snapshot, chosen once.
    pub snapshot: String,
    /// The paths that come back.
    pub paths: Vec<PathBuf>,
    /// How far it is.
    pub stage: Stage,
    /// Whether the snapshot is one that its owner named although it lacks something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Files come from the repository.
    Fetching,
    /// All are there, and are moved to their places.
    Moving,
    /// All files are in their places; nothing is left to do.
    Done,
}

/// Reads the record of `name` on the pool at `mount`.
pub fn read(mount: &Path, name: &str) -> Result<Option<Record>, RestoreError> {
    let path = path(mount, name);
    let failed = |source: io::Error| RestoreError::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
        // A damaged record must not pass for none.
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| RestoreError::Damaged { path: path.clone(), source }),
    }
}

/// Replaces it.
pub fn write(mount: &Path, name: &str, record: &Record) -> Result<(), RestoreError> {
    let path = path(mount, name);
    let failed =
        |error: serde_json::Error| RestoreError::File { path: path.clone(), source: error.into() };
    let text = serde_json::to_string_pretty(record).map_err(failed)?;
    Ok(atomic::write(&path, &format!("{text}\n"), 0o600)?)
}

fn path(mount: &Path, name: &str) -> PathBuf {
    mount.join(DIRECTORY).join(format!("{name}.json"))
}
