//! Events: the only output of the engines. Renderers depend on this module alone.
//!
//! On the wire an event is one line of JSON. Readers ignore fields they do not know.

pub mod cause;
pub mod progress;
pub mod shown;

use serde::{Deserialize, Serialize};

/// Version of the event format.
pub const EVENT_SCHEMA: u32 = 1;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Always [`EVENT_SCHEMA`].
    pub schema: u32,
    /// Counts from 0 within one run.
    pub sequence: u64,
    /// Milliseconds since the run began (monotonic).
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A plan is about to be executed.
    PlanStarted {
        /// What is planned, for example `install hypervisor`.
        title: String,
        /// Plan hash, where the plan has one.
        plan: Option<String>,
        /// The steps in order.
        steps: Vec<StepSummary>,
        /// What will be destroyed, one line each.
        destroys: Vec<String>,
    },
    /// A step begins.
    StepStarted {
        /// Id of the step, as `PlanStarted` announced it.
        step: String,
    },
    /// A step moves on.
    Progress {
        /// Id of the step that moves on.
        step: String,
        /// How much is done.
        done: u64,
        /// Of how much, when known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
        /// What is being worked on.
        note: Option<String>,
    },
    /// Something deserves attention but does not stop the run.
    Warned {
        /// Which step, when one is running.
        step: Option<String>,
        /// What deserves attention, as people are shown it.
        message: String,
    },
    /// A step ended well.
    StepDone {
        /// Id of the step that ended.
        step: String,
        /// Whether anything was done.
        outcome: Outcome,
        /// How long it took, in milliseconds.
        milliseconds: u64,
    },
    /// The run, or one resource of it, failed.
    Failed {
        /// Which step, when one was running.
        step: Option<String>,
        /// The device as its owner knows it.
        device: Option<String>,
        /// What state the device was left in.
        state: Option<DeviceState>,
        /// What failed.
        message: String,
        /// The chain of causes, outermost first.
        causes: Vec<String>,
        /// What to do next.
        next: String,
    },
    /// The run is over.
    PlanDone {
        /// Whether every step ended well.
        success: bool,
        /// How long it all took, in milliseconds.
        milliseconds: u64,
    },
}

/// Something that shows events.
pub trait Sink: Send {
    /// Shows one event. A sink that cannot is silent: a full console must not stop an installation.
    fn show(&mut self, event: &Event);
}

/// A step as announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Stable identifier, for example `luks-vm1`.
    pub id: String,
    /// For people, for example `Encrypt vm1 (nvme-…)`.
    pub title: String,
}

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes, not their multiples.
    Bytes,
    /// Things counted one by one, such as disks or derivations.
    Items,
}

/// Whether a step did anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it says.
    Done,
    /// It found its work done and verified it.
    AlreadyDone,
}

/// The state a device was left in by a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Nothing was written to it.
    Untouched,
    /// Something was written, the step is not complete.
    Partial,
    /// The step's work is complete.
    Written,
}
