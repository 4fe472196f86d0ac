//! What is known of a backup: `/var/lib/bedplate/backups/<name>.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use bedplate_tools::atomic::{self, WriteError};

/// What is known of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Schema of this document, 1.
    pub schema: u32,
    /// The repository this is about.
    pub repository: String,
    /// Whether the repository was ever seen or made.
    pub existed: bool,
    /// The newest attempt.
    pub last: Option<Attempt>,
    /// The newest attempt that ended well.
    pub last_success: Option<Attempt>,
    /// Id of the snapshot in the repository that was made of the snapshots that are kept on the
    /// pools; none when they are of no backup that ended well.
    #[serde(default)]
    pub local: Option<String>,
    /// Why old snapshots stay in the repository since the newest that ended well, when they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// The newest attempt at each other task.
    #[serde(default)]
    pub tasks: BTreeMap<Task, Attempt>,
}

/// What is done with a repository besides backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Deleting what no snapshot holds.
    Prune,
    /// Checking the structure.
    Check,
    /// Reading and checking all data.
    CheckData,
    /// Restoring and comparing.
    Drill,
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Prune => "prune",
            Self::Check => "check",
            Self::CheckData => "check of all data",
            Self::Drill => "drill",
        })
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Seconds since 1970.
    pub at: u64,
    /// Id of the snapshot, when one was made.
    pub snapshot: Option<String>,
    /// Bytes that were new.
    pub added: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Attempt {
    /// An attempt that ended now.
    pub fn now(snapshot: Option<String>, added: u64, failure: Option<String>) -> Self {
        Self { at: now(), snapshot, added, failure }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file.
    #[error("could not read the record {}", .path.display())]
    Read {
        /// Path of the record below `/var/lib/bedplate/backups`.
        path: PathBuf,
        /// What the kernel said when the record was read.
        #[source]
        source: io::Error,
    },
    /// What is in the file is not the JSON of a record.
    #[error(
        "the record {} is damaged; move it away, and the next run of the backup writes a new one: a \
         repository that is there is used as it is",
        .path.display()
    )]
    Damaged {
        /// Path of the record, which is left as it is.
        path: PathBuf,
        /// Where the text stops being the record of a backup, and how.
        #[source]
        source: serde_json::Error,
    },
}

/// The record of `name` for `repository`; an empty one when there is none.
///
/// A damaged record is an error: it must not pass for "never existed".
pub fn read(state: &Path, name: &str, repository: &str) -> Result<Record, RecordError> {
    let path = path(state, name);
    let fresh = || Record { schema: 1, repository: repository.to_owned(), ..Record::default() };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh()),
        Err(source) => return Err(RecordError::Read { path, source }),
    };
    let record: Record =
        serde_json::from_str(&text).map_err(|source| RecordError::Damaged { path, source })?;
    Ok(if record.repository == repository { record } else { fresh() })
}

/// Replaces the record of `name`.
pub fn write(state: &Path, name: &str, record: &Record) -> Result<(), WriteError> {
    let path = path(state, name);
    let text = serde_json::to_string_pretty(record)
        .map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
    atomic::write(&path, &format!("{text}\n"), 0o644)
}

pub(crate) fn path(state: &Path, name: &str) -> PathBuf {
    state.join("backups").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_a_damaged_record_is_not_taken_for_none() {
        let state = tempfile::tempdir().unwrap();
        assert!(!read(state.path(), "a", "/r").unwrap().existed);
        let record =
            Record { schema: 1, repository: "/r".into(), existed: true, ..Record::default() };
        write(state.path(), "a", &record).unwrap();
        assert_eq!(read(state.path(), "a", "/r").unwrap(), record);
        assert!(!read(state.path(), "a", "/other").unwrap().existed);
        fs::write(state.path().join("backups/a.json"), "{").unwrap();
        assert!(matches!(read(state.path(), "a", "/r"), Err(RecordError::Damaged { .. })));
    }
}
