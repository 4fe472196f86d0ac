//! Why a plan is refused.

use std::fmt;

use bedplate_model::name::Role;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Role of the disk; none for the machine.
    pub role: Option<Role>,
    /// by-id name of the disk.
    pub id: Option<String>,
    /// What stands against it.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Refusal {
    pub(super) fn machine(message: String, help: impl Into<String>) -> Self {
        Self { role: None, id: None, message, help: help.into() }
    }

    pub(super) fn disk(role: &Role, id: &str, message: String, help: impl Into<String>) -> Self {
        Self { role: Some(role.to_owned()), id: Some(id.to_owned()), message, help: help.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(role), Some(id)) = (&self.role, &self.id) {
            write!(formatter, "{role} ({id}): ")?;
        }
        write!(formatter, "{}\n  help: {}", self.message, self.help)
    }
}

/// Every reason at once; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The reasons, in the order of the disks.
    pub refusals: Vec<Refusal>,
}

impl PlanError {
    pub(super) fn new(refusals: Vec<Refusal>) -> Self {
        Self { refusals }
    }

    /// The reasons that are shown to people, which are not all of very many, and how many more there
    /// are.
    pub fn shown(&self) -> (&[Refusal], usize) {
        const SHOWN: usize = 100;
        let (shown, more) = self.refusals.split_at(self.refusals.len().min(SHOWN));
        (shown, more.len())
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = self.shown();
        for (index, refusal) in shown.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{refusal}")?;
        }
        if more > 0 {
            write!(formatter, "\nand {more} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}
