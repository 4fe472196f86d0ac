//! What can go wrong with a pool.

use bedplate_disks::pool_fs::{LookError, OpenError};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_luks::LuksError;
use bedplate_model::name::Role;
use bedplate_tools::command::CommandError;

/// A pool that could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said when a record, a device or a mount point was read or written.
        #[source]
        source: io::Error,
    },
    /// A record that says nothing.
    #[error(
        "the record {} of the pool `{pool}` is damaged, which said what disks were replaced; \
         unplug those that were, move the record away, then run `bedplate-host pool open {pool}` \
         and `bedplate-host pool scrub {pool}`",
        .path.display()
    )]
    Damaged {
        /// Path of the record of the pool, which is left as it is.
        path: PathBuf,
        /// Of which pool.
        pool: String,
        /// Where the text stops being the record of a pool, and how.
        #[source]
        source: serde_json::Error,
    },
    /// Not in `host.toml`.
    #[error("there is no pool `{name}` in host.toml")]
    Unknown {
        /// Name of the pool that was asked for.
        name: String,
    },
    /// One header on several devices.
    #[error("{devices} carry the same LUKS header as member `{role}`: unplug the copy")]
    Cloned {
        /// Role of the member whose header is on more than one device.
        role: Role,
        /// The devices.
        devices: String,
    },
    /// Members are there but locked.
    #[error(
        "no key opens {roles} of pool `{pool}`{tried}: plug in the key stick, then run `bedplate-host pool open {pool}`"
    )]
    Locked {
        /// Which pool.
        pool: String,
        /// Which members.
        roles: String,
        /// What was tried, after a separator; often empty.
        tried: String,
    },
    /// No member at all, or too few.
    #[error(
        "only {present} of {wanted} members of pool `{pool}` are there, and RAID1 can lose one; \
         lacking: {lacking}. Nothing was mounted or written; plug the disks in, then run `bedplate-host pool open {pool}`"
    )]
    TooFew {
        /// Which pool.
        pool: String,
        /// How many are there.
        present: usize,
        /// How many there should be.
        wanted: usize,
        /// Roles that are not, and why.
        lacking: String,
    },
    /// What is there does not have the newest history, or nothing proves it.
    #[error("the pool `{pool}` was not mounted, and nothing of it was changed: {why}")]
    History {
        /// Which pool.
        pool: String,
        /// What is known, and what to do.
        why: String,
    },
    /// A record that would vouch for a member that is left behind.
    #[error(
        "the pool `{pool}` lacks a member, and that could not be kept on the OS disk ({why}): the next boot \
         might take the one that is missing for the newest. Nothing was mounted; make room on the OS disk, or \
         see to it, then run `bedplate-host pool open {pool}`. Only when it cannot be mended: \
         `bedplate-host pool open {pool} --give-up-newer` goes on with what is here"
    )]
    Unkept {
        /// Which pool.
        pool: String,
        /// Why it could not be kept.
        why: String,
    },
    /// No such role.
    #[error("the pool `{pool}` has no disk `{role}` in host.toml; nothing was changed")]
    NoRole {
        /// Which pool.
        pool: String,
        /// Which role.
        role: Role,
    },
    /// A mark that a member needs before it is written to.
    #[error(
        "the header of `{role}` in pool `{pool}` could not be marked ({why}); nothing more was done, \
         look at the disk, then run the same command again"
    )]
    Mark {
        /// Which pool.
        pool: String,
        /// The role of the member.
        role: Role,
        /// What is wrong, for people.
        why: String,
    },
    /// The kernel has no randomness to give.
    #[error("no name for a new era could be had; nothing was changed")]
    Random(#[source] getrandom::Error),
    /// A resynchronisation that did not come to its end.
    #[error(
        "`{role}` of pool `{pool}` could not be brought up to date: {why}. The pool goes on without it; it is \
         tried again every ten minutes, and at once by `systemctl start bedplate-pool-tend`"
    )]
    Resync {
        /// Which pool.
        pool: String,
        /// Whose disk.
        role: Role,
        /// What is wrong, for people.
        why: String,
    },
    /// Two copies cannot be compared where there is one.
    #[error(
        "the pool `{pool}` lacks a disk: `bedplate-host pool replace` comes first, then the scrub"
    )]
    NotWhole {
        /// Name of the pool that lacks a disk.
        pool: String,
    },
    /// Not mounted.
    #[error("the pool `{pool}` is not mounted: run `bedplate-host pool open {pool}`")]
    NotMounted {
        /// Name of the pool in `host.toml`.
        pool: String,
    },
    /// A scrub that did not get to the end.
    #[error("the scrub of pool `{pool}` was cut off; run it again:\n{summary}")]
    CutOff {
        /// Name of the pool whose scrub it was.
        pool: String,
        /// What the file system says.
        summary: String,
    },
    /// What is mounted could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// A volume.
    #[error("a member could not be unlocked")]
    Luks(#[from] LuksError),
    /// A mount.
    #[error("a mount failed")]
    Mount(#[from] OpenError),
    /// A command.
    #[error("a program that pools need failed")]
    Command(#[from] CommandError),
}

pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PoolError + 'a {
    move |source| PoolError::File { action, path: path.to_owned(), source }
}
