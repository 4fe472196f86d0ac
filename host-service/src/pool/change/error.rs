//! Why a change of a pool was refused, or failed.

use std::io;

use bedplate_disks::ClaimError;
use bedplate_keystick as keystick;
use bedplate_luks::LuksError;
use bedplate_planner::PlanError;
use bedplate_tools::command::CommandError;
use uuid::Uuid;

use crate::pool::error::PoolError;
use bedplate_tools::atomic::WriteError;

/// A change that was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The plan.
    #[error("nothing was changed:\n{0}")]
    Refused(PlanError),
    /// The pool.
    #[error("the pool could not be looked at or changed")]
    Pool(#[from] PoolError),
    /// The disk is another one than was planned with, or somebody uses it.
    #[error("{} was not written to: {}; run the command again", .0.disk, .0.fault)]
    Claim(ClaimError),
    /// A step that writes to a disk, and a plan without one.
    #[error("the plan of {0} names no disk; nothing was changed")]
    NoDisk(String),
    /// The disk could not be written.
    #[error("{disk}: could not {action}; what stood there is lost, run the same command again")]
    Disk {
        /// Role and by-id name.
        disk: String,
        /// What was attempted.
        action: &'static str,
        /// What the kernel said when the partition table was written or read anew.
        #[source]
        source: io::Error,
    },
    /// The new disk does not take what is written to it.
    #[error(
        "{disk}: it did not take {count} of the writes that fill it. The disks that the pool had keep everything, but what has no checksums (NOCOW) may be read from the new one until the machine is restarted without it: turn the machine off, take the disk out, and run the same command with another one"
    )]
    NotTaken {
        /// Role and by-id name.
        disk: String,
        /// How many writes.
        count: u64,
    },
    /// A volume where one is to be made.
    #[error(
        "{disk}: a LUKS volume that this change did not make stands on it; it was not written to. Run the command again, or erase the disk with `wipefs`"
    )]
    Volume {
        /// Role and by-id name.
        disk: String,
    },
    /// No stick with the keys.
    #[error(
        "no key stick of `unlock.sticks` is plugged in; the new disk gets its keys from it. Nothing was changed"
    )]
    NoStick,
    /// The stick.
    #[error("the key stick could not be used")]
    Stick(#[from] keystick::StickError),
    /// Not the keys of this machine.
    #[error(
        "the {what} on the key stick does not open {role}, which is in the pool; nothing was changed"
    )]
    WrongKey {
        /// Which key.
        what: &'static str,
        /// Which member it was tried on.
        role: String,
    },
    /// Passphrase that nobody can be asked for.
    #[error(
        "`unlock.recovery` is no file on the key stick, and this version cannot ask for the passphrase; nothing was changed"
    )]
    NoPassphrase,
    /// Just written, and it does not open.
    #[error("the {what} does not open the new volume of {role}; run the same command again")]
    KeyLost {
        /// Which key.
        what: &'static str,
        /// Of which role.
        role: String,
    },
    /// A volume.
    #[error("{disk}: an encrypted volume could not be made or opened; run the same command again")]
    Luks {
        /// Role and by-id name.
        disk: String,
        /// What libcryptsetup or the kernel said of the volume; boxed, as it is large.
        #[source]
        source: Box<LuksError>,
    },
    /// A header that should be there.
    #[error("the LUKS header {0} is on no disk; plug the disk in and run the same command again")]
    NoHeader(Uuid),
    /// A command.
    #[error("{action}; run the same command again")]
    Command {
        /// What failed.
        action: &'static str,
        /// How the command ended, with the tail of what it said.
        #[source]
        source: CommandError,
    },
    /// The record.
    #[error("the state of the pool could not be kept; run the same command again")]
    Record(#[from] WriteError),
}

impl From<ClaimError> for ChangeError {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}

pub(in crate::pool) fn command(action: &'static str) -> impl FnOnce(CommandError) -> ChangeError {
    move |source| ChangeError::Command { action, source }
}
