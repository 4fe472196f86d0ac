//! Backups with restic: of a read-only snapshot, into a repository that is made once.

pub mod decision;
pub mod diff;
pub mod engine;
pub mod key;
pub mod record;
pub mod run;
pub mod source;

pub use engine::Backups;
