//! Copies of guests for the lab.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bedplate_model::host::HostFile;
use bedplate_resources::context::Context;

use crate::driver::GuestError;

/// A guest that the machine knows, whether or not `host.toml` declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether it was made by Bedplate.
    pub ours: bool,
    /// Whether it runs.
    pub running: bool,
}

/// A copy that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Name of the guest in `host.toml`.
    pub guest: &'a str,
    /// Name of the copy.
    pub copy: &'a str,
    /// The bridge that the copy is on, which leads nowhere.
    pub bridge: &'a str,
    /// Directory of the copy's files.
    pub directory: &'a Path,
}

/// How a copy is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where the copy of the guest's disk goes.
    pub disk: PathBuf,
    /// How the copy is defined, as [`Copies::define`] takes it.
    pub definition: String,
}

/// Says how a copy is made. Pure; none for a guest that is not declared.
pub type PlanCopy = Box<dyn Fn(&HostFile, &Wanted<'_>) -> Option<Copy>>;

/// How guests of one kind are copied. A copy reaches nothing that its model reaches (T42).
pub trait Copies {
    /// Where the disk of a guest of `host.toml` is, which a copy begins with.
    fn disk(&self, host: &HostFile, guest: &str) -> Option<PathBuf>;

    /// All guests of this kind that the machine knows.
    fn known(&self) -> Result<BTreeMap<String, Known>, GuestError>;

    /// Looks at what plans of copies depend on besides `host.toml`.
    fn planner(&self, context: &Context) -> Result<PlanCopy, GuestError>;

    /// Defines a copy; it is not started.
    fn define(&self, definition: &str) -> Result<(), GuestError>;

    /// Turns a copy off.
    fn stop(&self, copy: &str) -> Result<(), GuestError>;

    /// Removes the definition of a copy.
    fn remove(&self, copy: &str) -> Result<(), GuestError>;
}
