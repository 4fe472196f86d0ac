//! What a kind of guest has to be able to do. Backup, restore, lab, notify and units know nothing else.

use std::error::Error;
use std::path::{Path, PathBuf};

use bedplate_engine::StepReporter;
use bedplate_model::host::HostFile;
use bedplate_resources::compared::Prepared;
use bedplate_resources::context::Context;

use crate::copies::Copies;
use crate::hold::HoldError;

/// Why a driver could not do something.
pub type GuestError = Box<dyn Error + Send + Sync>;

/// What a guest wants of its owner, as far as it matters to whom it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Its owner was told when it arose, and chooses the time.
    HasTime,
    /// Somebody should see to it soon.
    Soon,
    /// The guest does not do its work until somebody sees to it.
    Urgent,
}

/// One kind of guest.
pub trait GuestDriver: Send + Sync {
    /// What the kind is called in `status` and in the names of steps, such as `vm`.
    fn kind(&self) -> &'static str;

    /// The section of `host.toml` that declares guests of this kind, such as `vms`.
    fn section(&self) -> &'static str;

    /// Observes all guests of this kind and compares them with `host.toml`; what is returned makes them so.
    fn look(&self, context: &Context) -> Box<dyn Prepared>;

    /// Does what cannot wait for the next converge and changes nothing that `host.toml` says. `done` is told
    /// what was done, a line each.
    fn tend(
        &self,
        context: &Context,
        of_step: &StepReporter<'_>,
        done: &mut dyn FnMut(String),
    ) -> Result<(), GuestError>;

    /// What is to be done about something that a guest of this kind wants of its owner.
    fn judge(&self, want: &str) -> Want;

    /// Directory, below the runtime directory, of the notes on guests that are held: one file each, by name.
    fn notes(&self) -> String {
        format!("held-{}", self.kind())
    }

    /// Those of `names` that run and are ours, and so have to be held for a snapshot of their files. Nothing
    /// is asked when there are no names.
    fn running(&self, names: Vec<String>) -> Result<Vec<String>, HoldError>;

    /// Holds a guest, so that a snapshot of its files can be used. What is held is noted in `note` first.
    fn hold(&self, name: &str, note: &Path) -> Result<(), HoldError>;

    /// Lets a guest go that is held as `note` says, and removes the note.
    fn let_go(&self, name: &str, note: &Path) -> Result<(), HoldError>;

    /// What a person can do about a guest that cannot be let go.
    fn free_by_hand(&self, name: &str) -> String;

    /// How guests of this kind are copied into the lab; none where they cannot be.
    fn copies(&self) -> Option<&dyn Copies> {
        None
    }

    /// The services that run guests of this kind, the one first that the driver asks. They start after the pools.
    fn services(&self) -> &'static [&'static str];

    /// Files below `/etc` that the guests of `host` need on the embedded platform: units and rules. `programs` is
    /// the directory above the `bin` of Bedplate's programs, `pools` the units that mount the pools.
    fn files(&self, host: &HostFile, programs: &str, pools: &str) -> Vec<(PathBuf, String)>;
}
