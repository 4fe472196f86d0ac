//! Backups with restic: of a read-only snapshot, into a repository that is made once.

pub mod access;
pub mod choice;
pub mod compare;
pub mod decision;
pub mod diff;
pub mod drill;
pub mod engine;
pub mod error;
pub mod fresh;
pub mod key;
pub mod leftover;
pub mod lock;
pub mod nested;
pub mod record;
pub mod retrieve;
pub mod room;
pub mod run;
pub mod schedule;
pub mod session;
pub mod source;
pub mod upkeep;

#[cfg(test)]
mod full;
#[cfg(test)]
mod tests;

pub use engine::Backups;
pub use error::BackupError;
