//! Backups with restic: of a read-only snapshot, into a repository that is made once.

pub mod access;
pub mod compare;
pub mod decision;
pub mod diff;
pub mod drill;
pub mod engine;
pub mod error;
pub mod fresh;
pub mod key;
pub mod lock;
pub mod nested;
pub mod quiesce;
pub mod record;
pub mod retrieve;
pub mod run;
pub mod schedule;
pub mod session;
pub mod source;
pub mod upkeep;

pub use engine::Backups;
pub use error::BackupError;
