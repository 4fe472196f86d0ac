//! Numbers and dates events and hands them on.

use std::error::Error;
use std::time::{Duration, Instant};

use bedplate_events::{EVENT_SCHEMA, Event, EventKind, Unit};

/// Progress is told at most this often.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where events go.
pub type Sink<'a> = dyn FnMut(&Event) + 'a;

/// Numbers and dates events and hands them to a sink.
pub struct Reporter<'a> {
    sink: &'a mut Sink<'a>,
    began: Instant,
    sequence: u64,
    step: Option<String>,
    told: Option<Instant>,
}

impl<'a> Reporter<'a> {
    /// A run that begins now.
    pub fn new(sink: &'a mut Sink<'a>) -> Self {
        Self { sink, began: Instant::now(), sequence: 0, step: None, told: None }
    }

    /// Says what happened.
    pub fn tell(&mut self, kind: EventKind) {
        let at_ms = self.milliseconds();
        let event = Event { schema: EVENT_SCHEMA, sequence: self.sequence, at_ms, kind };
        self.sequence += 1;
        (self.sink)(&event);
    }

    /// Begins a step; what is told as progress belongs to it.
    pub fn start_step(&mut self, step: &str) {
        self.step = Some(step.to_owned());
        self.told = None;
        self.tell(EventKind::StepStarted { step: step.to_owned() });
    }

    /// Bytes done in the current step.
    pub fn bytes(&mut self, done: u64, total: Option<u64>, note: &str) {
        if self.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        self.told = Some(Instant::now());
        let Some(step) = self.step.clone() else { return };
        let note = Some(note.to_owned());
        self.tell(EventKind::Progress { step, done, total, unit: Unit::Bytes, note });
    }

    /// A failure with its chain of causes.
    pub fn fail(&mut self, step: Option<String>, error: &dyn Error, next: &str) {
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let causes = causes.map(ToString::to_string).collect();
        self.tell(EventKind::Failed {
            step,
            device: None,
            state: None,
            message: error.to_string(),
            causes,
            next: next.to_owned(),
        });
    }

    /// A warning that belongs to `step`.
    pub fn warn(&mut self, step: Option<String>, message: String) {
        self.tell(EventKind::Warned { step, message });
    }

    /// Time since the run began.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
