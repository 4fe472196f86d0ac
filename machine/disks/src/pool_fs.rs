//! The file system of a pool: what it is made, opened, looked after and snapshotted by.
//!
//! Whoever uses a pool asks [`PoolFileSystem`], and not which one it is. What tells two histories of a pool
//! apart is no part of it: that is up to the planner.

mod btrfs;
mod members;
mod usage;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::host::FileSystem;
use bedplate_tools::command::CommandError;
use bedplate_tools::mount::{Access, MountError};
use uuid::Uuid;

pub use members::{Away, Live, LookError, Progress, ResyncError, Told, Which};
pub use usage::{Filled, Usage};

/// What is done while something runs for hours: called again and again.
pub type Meanwhile<'a> = &'a mut dyn FnMut();

/// A pool that is to be made over its members. Everything on them is lost.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// The volumes that become its members.
    pub members: &'a [PathBuf],
    /// How it is called.
    pub label: &'a str,
    /// By which it is known.
    pub id: Uuid,
    /// Whether everything is kept on two members.
    pub two_copies: bool,
}

/// How a pool is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The volumes that are its members, as far as they are there.
    pub members: &'a [PathBuf],
    /// The directory that it is mounted at, which is there.
    pub at: &'a Path,
    /// Whether it is mounted although members are missing.
    pub degraded: bool,
    /// Whether it may be written. Read-only, not even the log that a power cut left is replayed.
    pub access: Access,
}

/// Why a pool could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel could not be told of its members.
    #[error("the kernel could not be told of the members")]
    Members(#[from] CommandError),
    /// The kernel did not mount it.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// How a mounted pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How full it is.
    pub usage: Usage,
    /// Counted for each member and kind of error since the pool was made.
    pub errors: BTreeMap<String, u64>,
    /// Of them, writes that a member did not take, by its node. One that is not here took all.
    pub unwritten: BTreeMap<PathBuf, u64>,
}

/// What reading everything came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Whether everything was read. An exit code of 0 may not say that.
    pub finished: bool,
    /// For people.
    pub summary: String,
}

/// What people read and type about a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Its name.
    pub name: &'static str,
    /// What its lines in the kernel's journal are found by.
    pub journal: &'static str,
    /// The command that shows the errors of each member.
    pub errors: &'static str,
    /// The command that gives back room which data has and does not use, before the directory of the pool;
    /// none where that cannot be short.
    pub gather: Option<&'static str>,
}

/// A file system that pools can have.
///
/// Who holds the newest history is decided before a pool is opened, and marked beside the file system: a
/// member that is behind is put out of sight and forgotten, so that nothing takes it in as it is. It comes
/// back by [`PoolFileSystem::resynchronise`] alone.
pub trait PoolFileSystem: Sync {
    /// What people read and type about it.
    fn words(&self) -> &'static Words;

    /// Makes a pool.
    fn make(&self, making: &Making<'_>) -> Result<(), CommandError>;

    /// Mounts a pool.
    fn open(&self, opening: &Opening<'_>) -> Result<(), OpenError>;

    /// How the pool that is mounted at `mount` is.
    fn health(&self, mount: &Path) -> Result<Health, CommandError>;

    /// Reads everything, for hours, and repairs what is wrong in one copy.
    fn scrub(&self, mount: &Path) -> Result<Scrubbed, CommandError>;

    /// Takes a blank device into the pool.
    fn join(&self, device: &Path, mount: &Path) -> Result<(), CommandError>;

    /// Takes a member out of the pool, once all it holds is elsewhere: for hours.
    fn leave(
        &self,
        member: Which<'_>,
        mount: &Path,
        meanwhile: Meanwhile<'_>,
    ) -> Result<(), CommandError>;

    /// Keeps two copies of everything that has one: for hours.
    fn spread(&self, mount: &Path, meanwhile: Meanwhile<'_>) -> Result<(), CommandError>;

    /// What a member says of itself, also one that is out of sight: past what the kernel remembers of it. None
    /// when it is no member of any such pool.
    fn told(&self, member: &Path) -> io::Result<Option<Told>>;

    /// What is known of the members of the pool `id`; none when it is not mounted.
    fn live(&self, id: Uuid) -> Result<Option<Live>, LookError>;

    /// The numbers of the members that the pool lacks which is mounted at `mount`.
    fn missing(&self, mount: &Path) -> Result<Vec<u64>, CommandError>;

    /// Puts a member out of sight, durably: nothing makes it a part of what is mounted, whoever looks at it.
    fn hide(&self, member: &Path) -> io::Result<()>;

    /// Undoes [`PoolFileSystem::hide`], to the byte.
    fn show(&self, member: &Path) -> io::Result<()>;

    /// Makes the kernel forget a member that is not mounted. It is no matter when it knew none.
    fn forget(&self, member: &Path) -> Result<(), CommandError>;

    /// Writes a member anew in its own place, from those that have everything, and returns when that is done:
    /// for hours. It is out of sight until then. What could not be read stays on it as it was. A file system
    /// that does so by itself lets it in here, and waits.
    fn resynchronise(&self, away: &Away<'_>, meanwhile: Meanwhile<'_>) -> Result<(), ResyncError>;

    /// How far that is. The kernel takes it up again by itself when the pool is mounted with that member.
    fn progress(&self, mount: &Path) -> Result<Progress, CommandError>;

    /// Gives up a resynchronisation that is running or waits.
    fn give_up(&self, mount: &Path) -> Result<(), CommandError>;

    /// Makes a part of a pool that can be snapshotted by itself.
    fn create_part(&self, path: &Path) -> Result<(), CommandError>;

    /// Whether this is the top of a part, or of the pool.
    fn is_part(&self, found: &Metadata) -> bool;

    /// Takes a read-only snapshot of the part `from`.
    fn snapshot(&self, from: &Path, to: &Path) -> Result<(), CommandError>;

    /// Deletes a part or a snapshot. What is neither stays, and is an error.
    fn delete_part(&self, path: &Path) -> Result<(), CommandError>;

    /// Waits until the room of what was deleted is free again.
    fn settle(&self, mount: &Path) -> Result<(), CommandError>;

    /// The parts directly inside the one at `path`, as paths from the top of the pool: a snapshot of it does
    /// not hold them.
    fn nested(&self, path: &Path) -> Result<Vec<PathBuf>, CommandError>;

    /// Fills an empty file with the data of another, which takes no room until one of them is written to.
    fn clone_file(&self, from: &File, to: &File) -> io::Result<()>;
}

/// The one that pools with `file_system` have.
pub fn of(file_system: FileSystem) -> &'static dyn PoolFileSystem {
    match file_system {
        FileSystem::Btrfs => &btrfs::Btrfs,
    }
}
