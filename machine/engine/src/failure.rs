//! What a failure of a step says, besides what went wrong and why.

use std::error::Error;
use std::io;

use bedplate_events::{DeviceState, EventKind, cause};

/// A step that failed. What went wrong is its text, and why are its sources: what to do about it stands in
/// neither.
pub trait StepFailure: Error {
    /// What to do next, where it is not what goes for every step of the plan.
    fn next(&self) -> Option<String> {
        None
    }

    /// The device that is to blame, as its owner knows it: `vm1 (nvme-…)`.
    fn device(&self) -> Option<String> {
        None
    }

    /// The state in which that device was left.
    fn state(&self) -> Option<DeviceState> {
        None
    }
}

impl StepFailure for io::Error {}

/// The event of a failure, of a step or of none. `next` is what to do where the failure does not say it.
pub fn failed(step: Option<&str>, error: &(impl StepFailure + 'static), next: &str) -> EventKind {
    EventKind::Failed {
        step: step.map(str::to_owned),
        device: error.device(),
        state: error.state(),
        message: error.to_string(),
        causes: cause::texts(error).split_off(1),
        next: error.next().unwrap_or_else(|| next.to_owned()),
    }
}
