//! What a step that failed says.

use std::error::Error;

use bedplate_engine::StepFailure;
use bedplate_events::DeviceState;
use bedplate_events::cause::texts;

/// What to do after most failures.
pub const RUN_AGAIN: &str = "repair the cause and boot the medium again; \
    a run of the same plan finishes what this one began";

/// A step that failed: what, on which device, in which state it was left, what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StepError {
    /// What failed.
    pub what: String,
    /// The device as its owner knows it: `vm1 (nvme-…)`.
    pub device: Option<String>,
    /// The state the device was left in.
    pub state: Option<DeviceState>,
    /// What to do next, when it is not [`RUN_AGAIN`].
    pub next: Option<String>,
    /// The error that made it fail; none when the step itself found the fault.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl StepError {
    /// A failure without an underlying error.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), device: None, state: None, next: None, source: None }
    }

    /// Names the device and the state it was left in, unless a deeper layer already did.
    pub fn on(mut self, device: impl Into<String>, state: DeviceState) -> Self {
        self.device.get_or_insert_with(|| device.into());
        self.state.get_or_insert(state);
        self
    }

    /// Says what to do next, unless a deeper layer already did.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert_with(|| next.into());
        self
    }

    /// The chain of causes, outermost first.
    pub fn causes(&self) -> Vec<String> {
        let source = self.source.as_ref().map(|source| &**source as &(dyn Error + 'static));
        source.map(texts).unwrap_or_default()
    }
}

impl StepFailure for StepError {
    fn next(&self) -> Option<String> {
        self.next.clone()
    }

    fn device(&self) -> Option<String> {
        self.device.clone()
    }

    fn state(&self) -> Option<DeviceState> {
        self.state
    }
}

/// Turns any error into a [`StepError`] that says what was being done.
pub trait During<T> {
    /// Says what was being done.
    fn during(self, what: impl Into<String>) -> Result<T, StepError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T, StepError> {
        self.map_err(|source| StepError { source: Some(source.into()), ..StepError::new(what) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_never_prints_its_source_and_causes_walk_the_chain() {
        let inner: Result<(), _> = Err(std::io::Error::other("disk on fire"));
        let error = inner.during("could not write").unwrap_err();
        assert_eq!(error.to_string(), "could not write");
        assert_eq!(error.causes(), ["disk on fire"]);
    }

    #[test]
    fn the_deepest_layer_names_the_device() {
        let error =
            StepError::new("x").on("a", DeviceState::Untouched).on("b", DeviceState::Written);
        assert_eq!(error.device.as_deref(), Some("a"));
        assert_eq!(error.state, Some(DeviceState::Untouched));
    }
}
