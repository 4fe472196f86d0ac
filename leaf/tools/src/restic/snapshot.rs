//! What a repository holds, and how a run ended.

use serde::{Deserialize, Serialize};

use super::Unread;

/// The tag of a snapshot that may lack something. Every snapshot is stored with it, and loses it when
/// restic has said that everything was read: whatever comes in between (a power cut, a network that
/// goes) leaves one that nobody takes for whole. The tags of backups begin with `bedplate-`, so that
/// none of them is called like this.
pub const INCOMPLETE: &str = "incomplete";

/// A snapshot in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Host it was made on.
    pub hostname: String,
    /// What was read to make it.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What was found in it.
    #[serde(default)]
    pub summary: Option<Size>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The id it was first stored by, when its tags were changed since: restic stores it anew then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
}

impl Snapshot {
    /// Whether the run that made it read everything, as far as is known: one of before such snapshots
    /// were marked says nothing, and is taken for complete.
    pub fn is_complete(&self) -> bool {
        !self.tags.iter().any(|tag| tag == INCOMPLETE)
    }

    /// Whether `id` is its id, the one it was first stored by, or the start of either.
    pub fn is_called(&self, id: &str) -> bool {
        let original = self.original.as_ref();
        !id.is_empty()
            && (self.id.starts_with(id) || original.is_some_and(|one| one.starts_with(id)))
    }
}

/// How much a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Files in it, whether they had changed or not; 0 when restic does not say.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes of files.
    #[serde(default)]
    pub total_bytes_processed: u64,
}

/// A lock on a repository. One that cannot be read says nothing: it is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Lock {
    /// When it was made or last confirmed, RFC 3339.
    #[serde(default)]
    pub time: String,
    /// Host that holds it.
    #[serde(default)]
    pub hostname: String,
    /// Process that holds it.
    #[serde(default)]
    pub pid: u32,
    /// Whether nobody else may read.
    #[serde(default)]
    pub exclusive: bool,
}

/// What restic says at the end of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Id of the snapshot made.
    pub snapshot_id: String,
    /// Files read.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes read.
    #[serde(default)]
    pub total_bytes_processed: u64,
    /// Files that were as in the snapshot before, and were not read.
    #[serde(default)]
    pub files_unmodified: u64,
    /// Bytes that were new.
    #[serde(default)]
    pub data_added: u64,
}

/// How a backup ended, when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Everything was read, and the snapshot says so.
    Complete(Summary),
    /// Everything was read, and the repository did not take the mark off the snapshot.
    Marked(Summary),
    /// Not everything could be read; the snapshot is marked by that.
    Incomplete(Summary, Unread),
    /// restic named no snapshot.
    Nothing,
}

/// How many snapshots `forget` keeps; 0 says nothing about that period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Of how many days with a snapshot the last one is kept: `--keep-daily`.
    pub daily: u32,
    /// Of how many weeks with a snapshot the last one is kept: `--keep-weekly`.
    pub weekly: u32,
    /// Of how many months with a snapshot the last one is kept: `--keep-monthly`.
    pub monthly: u32,
}
