//! What is known of the members of a pool: by themselves, and by what is mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandError;
use uuid::Uuid;

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// By which its pool is known.
    pub pool: Uuid,
    /// Its number in the pool; none while it is being written in the place of another, and is of no use
    /// alone.
    pub number: Option<u64>,
    /// Raised with whatever is written: a member that was away has a lower one.
    pub generation: u64,
    /// How many members the pool has, by this one.
    pub members: u64,
    /// Whether it was put out of sight.
    pub hidden: bool,
    /// Whether a power cut tore what it says of itself: nothing is mounted by it.
    pub torn: bool,
}

/// What is known of the members of a mounted pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Names under `/dev/mapper` of the members that are there (kernel names of others).
    pub devices: BTreeSet<String>,
    /// Those of them whose disk dropped out: nothing can be read of them.
    pub silent: BTreeSet<String>,
    /// The same of those that are being written in the place of another, or of themselves.
    pub targets: BTreeSet<String>,
    /// The number of each of `devices` that says it, by its name.
    pub numbers: BTreeMap<String, u64>,
    /// A generation that every member has reached that is there.
    pub generation: u64,
    /// How many members are missing.
    pub missing: usize,
    /// What is not in two copies, for people.
    pub single: BTreeSet<String>,
}

/// How far the newest resynchronisation of a pool is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// None was ever begun, or the last one was given up.
    None,
    /// So many hundredths are done.
    Running(f64),
    /// It waits for its member.
    Suspended,
    /// It came to its end.
    Finished {
        /// Places that no member had whole.
        unreadable: u64,
        /// Writes that the one that was brought up to date did not take.
        unwritten: u64,
    },
}

/// A member that was away, and is to be brought up to date.
#[derive(Debug, Clone, Copy)]
pub struct Away<'a> {
    /// The number that it has, or is to have, among those that the pool lacks.
    pub number: u64,
    /// Its node.
    pub member: &'a Path,
    /// Where its pool is mounted.
    pub mount: &'a Path,
}

/// By what a member is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// By its number, also when it is not there or says nothing any more.
    Number(u64),
    /// By its node.
    Node(&'a Path),
}

/// Why a member was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum ResyncError {
    /// The pool is too full for it.
    #[error(transparent)]
    NoRoom(CommandError),
    /// Anything else.
    #[error(transparent)]
    Failed(CommandError),
}

/// Where the kernel shows what is mounted could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("could not look at {}", .path.display())]
pub struct LookError {
    /// What was to be looked at.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}
