//! How one step stands.

use crate::Unit;

/// A step that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It runs.
    Running(Running),
    /// It is over.
    Ended(Ended),
}

/// A step that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// When it began, in milliseconds of the run; none where that was not seen.
    pub since: Option<u64>,
    /// How far it is, as it said last.
    pub amount: Option<Amount>,
}

/// A step that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub how: How,
    /// When it began, in milliseconds of the run; none where that is not known.
    pub began: Option<u64>,
    /// When it ended, in milliseconds of the run.
    pub at: u64,
    /// How far it was, as it said last.
    pub amount: Option<Amount>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It did what it says.
    Done,
    /// It found its work done.
    AlreadyDone,
    /// It failed.
    Failed,
    /// The run was over before it.
    CutOff,
}

impl How {
    /// Whether its work is done.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::AlreadyDone)
    }
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// When it was told, in milliseconds of the run.
    pub at: u64,
    /// How much is done.
    pub done: u64,
    /// Of how much, when known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
    /// What is being worked on.
    pub note: Option<String>,
}

impl Running {
    /// Bytes in a second since the step began; none of what counts no bytes, or before any time has passed.
    pub fn rate(&self) -> Option<u64> {
        let amount = self.amount.as_ref().filter(|amount| amount.unit == Unit::Bytes)?;
        let elapsed = amount.at.saturating_sub(self.since?);
        amount.done.saturating_mul(1000).checked_div(elapsed)
    }

    /// The milliseconds that it still takes when it goes on as it did.
    pub fn remaining(&self) -> Option<u64> {
        let amount = self.amount.as_ref()?;
        amount.total?.saturating_sub(amount.done).saturating_mul(1000).checked_div(self.rate()?)
    }
}
