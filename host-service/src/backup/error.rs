//! What can go wrong with a backup.

use std::io;
use std::path::PathBuf;

use bedplate_engine::StepFailure;
use bedplate_tools::command::CommandError;
use bedplate_tools::restic::Unread;

use super::access::AccessError;
use super::choice::NoChoice;
use super::compare::CompareError;
use super::key::KeyError;
use super::record::RecordError;
use super::source::SourceError;
use bedplate_guests::hold::HoldError;
use bedplate_tools::atomic::WriteError;

/// A backup, or another task on its repository, that was not done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No such backup.
    #[error("host.toml declares no backup `{0}`")]
    Unknown(String),
    /// A restore comes first.
    #[error(
        "nothing was stored: what `{backup}` would store is not back from the restore of `{restore}` \
         yet ({why}), and a snapshot of now would be taken for the newest there is; the repository is \
         as it was; run `bedplate-host converge` to finish the restore, or take `{restore}` out of \
         `[restore]` when nothing is to come back"
    )]
    NotBack {
        /// Name of the backup.
        backup: String,
        /// Name of the backup that is to come back.
        restore: String,
        /// How far it is.
        why: String,
    },
    /// A pool is not mounted.
    #[error("{0}")]
    Pool(String),
    /// The file that keeps two tasks apart.
    #[error("could not lock {}", .path.display())]
    Alone {
        /// The lock file of the backup, in the runtime directory.
        path: PathBuf,
        /// What the kernel said when it was made or locked.
        #[source]
        source: io::Error,
    },
    /// Password or credentials.
    #[error("the repository cannot be opened")]
    Access(#[from] AccessError),
    /// The repository.
    #[error("the repository is in doubt: {0}")]
    Repository(String, #[source] Option<CommandError>),
    /// The key stick.
    #[error(
        "the key stick could not note that there is a repository; it is used all the same the next time"
    )]
    Note(#[source] KeyError),
    /// restic or the file system.
    #[error("a command failed")]
    Command(#[from] CommandError),
    /// It did not say what it made.
    #[error("restic named no snapshot")]
    NoSnapshot,
    /// Not all of it.
    #[error(
        "not everything could be read: {unread}; the snapshot {snapshot} holds the rest and is marked \
         incomplete: nothing comes back from it by itself; see whether that can be read (a disk with \
         errors: `bedplate-host pool status`), then run the backup again"
    )]
    Incomplete {
        /// restic's id.
        snapshot: String,
        /// What is missing in it.
        unread: Unread,
    },
    /// All of it, and nobody knows.
    #[error(
        "everything was read, and the repository did not take the mark `{}` off the snapshot {snapshot}: \
         nothing comes back from it by itself; run the backup again",
        bedplate_tools::restic::INCOMPLETE
    )]
    Marked {
        /// restic's id.
        snapshot: String,
    },
    /// Not in the repository, or not complete.
    #[error(transparent)]
    Choice(#[from] NoChoice),
    /// Not in the snapshot.
    #[error(
        "the snapshot {snapshot} does not hold {}; paths are named in full, as they were on the machine, \
         and are no patterns", quoted(.paths)
    )]
    NotInSnapshot {
        /// restic's id.
        snapshot: String,
        /// The paths that are concerned.
        paths: Vec<PathBuf>,
    },
    /// Only a part came.
    #[error(
        "not everything came back; what came stands in {}, and the next restore to the same directory \
         removes it and begins anew", .partial.display()
    )]
    Partial {
        /// Where that is.
        partial: PathBuf,
        /// What the program said that failed.
        #[source]
        source: CommandError,
    },
    /// The source.
    #[error("what is to be backed up could not be prepared")]
    Source(#[from] SourceError),
    /// Machines whose disks are in it.
    #[error("a machine could not be held for the snapshot, or let go after it")]
    Quiesce(#[from] HoldError),
    /// The record.
    #[error("the record of the backup could not be read")]
    Record(#[from] RecordError),
    /// The record.
    #[error("the record of the backup could not be written")]
    Write(#[from] WriteError),
    /// Nothing to compare with.
    #[error(
        "there is no snapshot on the pools to compare with: run `bedplate-host backup run {0}` first"
    )]
    NothingToCompare(String),
    /// A full disk.
    #[error(
        "{} has room for {free} bytes, and {needed} are wanted: holes, and data that files share, are \
         counted in full; `--ignore-room` goes on all the same", .place.display()
    )]
    Full {
        /// A directory on the file system that is too full.
        place: PathBuf,
        /// Free there.
        free: u64,
        /// Bytes that are to be brought back to it.
        needed: u64,
    },
    /// A file or directory.
    #[error("could not look at, make or remove {}", .path.display())]
    File {
        /// The file or directory, most often one that a restore fills or leaves.
        path: PathBuf,
        /// What the kernel said when it was looked at, made or removed.
        #[source]
        source: io::Error,
    },
    /// A place that is not free.
    #[error("{} is {what}", .path.display())]
    Place {
        /// The path as it was given for the restore.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// One of the two trees that a drill compares could not be read.
    #[error("what was restored could not be compared")]
    Compare(#[from] CompareError),
    /// The drill failed.
    #[error("what was restored differs from what was backed up: {0}")]
    Differs(String),
    /// What is on record is not there.
    #[error("the newest snapshot on record, {0}, is not in the repository")]
    Lost(String),
}

impl StepFailure for BackupError {}

/// A name may hold anything (T18).
fn quoted(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("{path:?}")).collect::<Vec<_>>().join(", ")
}
