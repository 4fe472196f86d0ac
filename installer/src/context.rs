//! What the steps of one run share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use bedplate_engine::Reporter;
use bedplate_keystick::Mounted;
use bedplate_luks::ArgonCost;
use bedplate_model::host::HostFile;
use bedplate_model::plan::{DiskTarget, Plan};
use bedplate_tools::secret::Secret;

use crate::answers::Answers;
use crate::error::StepError;
use crate::health::Health;
use crate::ledger::Ledger;

/// Where the target stands while it is installed.
pub const TARGET: &str = "/mnt";

/// Where the key stick stands.
pub const STICK: &str = "/run/bedplate/stick";

/// Below this stand the key sticks after the first.
pub const MORE_STICKS: &str = "/run/bedplate/sticks";

/// The two keys of every volume.
#[derive(Clone)]
pub struct Keys {
    /// Content of the keyfile.
    pub keyfile: Secret,
    /// The recovery passphrase.
    pub passphrase: Secret,
}

/// What somebody typed for this run.
#[derive(Default)]
pub struct Typed {
    /// The recovery passphrase, where the document says that it is asked for.
    pub recovery: Option<Secret>,
    /// Secrets that no key stick had, by their paths.
    pub secrets: BTreeMap<String, Secret>,
}

/// What the steps of one run share.
pub struct Context<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The document it was made from.
    pub host: &'a HostFile,
    /// What came with the medium.
    pub answers: &'a Answers,
    /// Where events go.
    pub reporter: &'a Reporter<'static>,
    /// What befalls the disks meanwhile.
    pub health: Health,
    /// What was written so far.
    pub ledger: Ledger,
    /// What somebody was asked for.
    pub typed: Typed,
    /// What `PrepareStick` gives: the keys of every volume.
    pub keys: OnceLock<Keys>,
    /// What `PrepareStick` gives: the key sticks, mounted until the run is over.
    pub sticks: OnceLock<Vec<Mounted>>,
    /// Measured once, used for every volume.
    pub argon: OnceLock<ArgonCost>,
    /// What `BuildSystem` or `FindSystem` gives: the store path of the system.
    pub toplevel: OnceLock<String>,
    /// What is left for a person to do, said when everything else is done.
    pub parting: OnceLock<String>,
}

impl Context<'_> {
    /// The disk of a role.
    pub fn disk(&self, role: &str) -> Result<&DiskTarget, StepError> {
        self.plan
            .disks
            .iter()
            .find(|disk| disk.role == role)
            .ok_or_else(|| StepError::new(format!("the plan names no disk `{role}`")))
    }

    /// The keys, once the stick is prepared.
    pub fn keys(&self) -> Result<&Keys, StepError> {
        self.keys.get().ok_or_else(|| StepError::new("the plan prepares no key stick"))
    }

    /// Where the key sticks are mounted; none before they are prepared.
    pub fn sticks(&self) -> impl Iterator<Item = &Path> {
        self.sticks.get().into_iter().flatten().map(Mounted::path)
    }

    /// The toplevel, once it is built.
    pub fn toplevel(&self) -> Result<&str, StepError> {
        self.toplevel
            .get()
            .map(String::as_str)
            .ok_or_else(|| StepError::new("the plan builds no system"))
    }
}
