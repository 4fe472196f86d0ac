//! Why a change of a pool was refused, or failed.

use std::io;

use bedplate_disks::ClaimError;
use bedplate_engine::StepFailure;
use bedplate_events::DeviceState;
use bedplate_keystick as keystick;
use bedplate_luks::LuksError;
use bedplate_model::name::Role;
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
    #[error("it was not written to: {}", .0.fault)]
    Claim(ClaimError),
    /// A step that writes to a disk, and a plan without one.
    #[error("the plan of {0} names no disk; nothing was changed")]
    NoDisk(Role),
    /// The disk could not be written.
    #[error("could not {action}; what stood there is lost")]
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
        "it did not take {count} of the writes that fill it. The disks that the pool had keep everything, but what has no checksums (NOCOW) may be read from the new one until the machine is restarted without it"
    )]
    NotTaken {
        /// Role and by-id name.
        disk: String,
        /// How many writes.
        count: u64,
    },
    /// A volume where one is to be made.
    #[error("a LUKS volume that this change did not make stands on it; it was not written to")]
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
        role: Role,
    },
    /// Passphrase that nobody can be asked for.
    #[error(
        "`unlock.recovery` is no file on the key stick, and this version cannot ask for the passphrase; nothing was changed"
    )]
    NoPassphrase,
    /// Just written, and it does not open.
    #[error("the {what} does not open the new volume of {role}")]
    KeyLost {
        /// Which key.
        what: &'static str,
        /// Of which role.
        role: Role,
    },
    /// A volume.
    #[error("an encrypted volume could not be made or opened")]
    Luks {
        /// Role and by-id name.
        disk: String,
        /// What libcryptsetup or the kernel said of the volume; boxed, as it is large.
        #[source]
        source: Box<LuksError>,
    },
    /// A header that should be there.
    #[error("the LUKS header {0} is on no disk")]
    NoHeader(Uuid),
    /// A command.
    #[error("{action}")]
    Command {
        /// What failed.
        action: &'static str,
        /// How the command ended, with the tail of what it said.
        #[source]
        source: CommandError,
    },
    /// The record.
    #[error("the state of the pool could not be kept")]
    Record(#[from] WriteError),
}

impl StepFailure for ChangeError {
    fn next(&self) -> Option<String> {
        let next = match self {
            Self::NotTaken { .. } => {
                "turn the machine off, take the disk out, and run the same command with another one"
            }
            Self::Volume { .. } => "run the command again, or erase the disk with `wipefs`",
            Self::NoHeader(_) => "plug the disk in and run the same command again",
            _ => return None,
        };
        Some(next.to_owned())
    }

    fn device(&self) -> Option<String> {
        match self {
            Self::Claim(error) => Some(error.disk.clone()),
            Self::Disk { disk, .. }
            | Self::NotTaken { disk, .. }
            | Self::Volume { disk }
            | Self::Luks { disk, .. } => Some(disk.clone()),
            _ => None,
        }
    }

    fn state(&self) -> Option<DeviceState> {
        match self {
            Self::Claim(_) | Self::Volume { .. } => Some(DeviceState::Untouched),
            Self::Disk { .. } | Self::NotTaken { .. } | Self::Luks { .. } => {
                Some(DeviceState::Partial)
            }
            _ => None,
        }
    }
}

impl From<ClaimError> for ChangeError {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}

pub(in crate::pool) fn command(action: &'static str) -> impl FnOnce(CommandError) -> ChangeError {
    move |source| ChangeError::Command { action, source }
}
