//! Events out of the engine, to every renderer.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Instant;

use bedplate_render::Sink;
use bedplate_events::{EVENT_SCHEMA, Event, EventKind, Unit};

/// Numbers events, stamps them and hands them to every sink. Usable from several threads.
pub struct Reporter {
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    sequence: u64,
    sinks: Vec<Box<dyn Sink>>,
}

impl Inner {
    fn show(&mut self, at_ms: u64, kind: EventKind) {
        let event = Event { schema: EVENT_SCHEMA, sequence: self.sequence, at_ms, kind };
        self.sequence += 1;
        for sink in &mut self.sinks {
            sink.show(&event);
        }
    }
}

impl Reporter {
    /// A reporter whose clock starts now.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { started: Instant::now(), inner: Mutex::new(Inner { sequence: 0, sinks }) }
    }

    /// Milliseconds since the run began.
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sends one event.
    pub fn emit(&self, kind: EventKind) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.show(self.milliseconds(), kind);
    }

    /// Sends one event, unless another one is being sent: then it is not waited for, and this is false.
    pub fn emit_unless_busy(&self, kind: &EventKind) -> bool {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        inner.show(self.milliseconds(), kind.clone());
        true
    }

    /// Something deserves attention.
    pub fn warn(&self, step: &str, message: impl Into<String>) {
        self.emit(EventKind::Warned { step: Some(step.to_owned()), message: message.into() });
    }

    /// A step moves on, and says what it is at.
    pub fn progress_at(
        &self,
        step: &str,
        done: u64,
        total: Option<u64>,
        unit: Unit,
        note: Option<String>,
    ) {
        self.emit(EventKind::Progress { step: step.to_owned(), done, total, unit, note });
    }

    /// A step moves on.
    pub fn progress(&self, step: &str, done: u64, total: Option<u64>, unit: Unit) {
        self.progress_at(step, done, total, unit, None);
    }
}
