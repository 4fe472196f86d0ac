//! One place through which every event goes.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bedplate_events::{EVENT_SCHEMA, Event, EventKind, Sink, Unit};

use crate::failure::{StepFailure, failed};

/// At most one line of progress of a step in this time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Numbers events, stamps them and hands them to every sink. Usable from several threads.
pub struct Reporter<'a> {
    started: Instant,
    inner: Mutex<Inner<'a>>,
}

struct Inner<'a> {
    sequence: u64,
    sinks: Vec<Box<dyn Sink + 'a>>,
}

impl Inner<'_> {
    fn show(&mut self, at_ms: u64, kind: EventKind) {
        let event = Event { schema: EVENT_SCHEMA, sequence: self.sequence, at_ms, kind };
        self.sequence += 1;
        for sink in &mut self.sinks {
            sink.show(&event);
        }
    }
}

/// A sink that is a function.
struct Function<F>(F);

impl<F: FnMut(&Event) + Send> Sink for Function<F> {
    fn show(&mut self, event: &Event) {
        (self.0)(event);
    }
}

impl<'a> Reporter<'a> {
    /// A reporter whose clock starts now.
    pub fn new(sinks: Vec<Box<dyn Sink + 'a>>) -> Self {
        Self { started: Instant::now(), inner: Mutex::new(Inner { sequence: 0, sinks }) }
    }

    /// A reporter that calls a function with every event.
    pub fn to(function: impl FnMut(&Event) + Send + 'a) -> Self {
        Self::new(vec![Box::new(Function(function))])
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

    /// Something deserves attention, of a step or of none.
    pub fn warn(&self, step: Option<&str>, message: impl Into<String>) {
        self.emit(EventKind::Warned { step: step.map(str::to_owned), message: message.into() });
    }

    /// Something failed: a step, or what belongs to none. `next` says what to do about it.
    pub fn fail(&self, step: Option<&str>, error: &(impl StepFailure + 'static), next: &str) {
        self.emit(failed(step, error, next));
    }
}

/// Who sends the events of a step.
trait Emit: Sync {
    fn emit(&self, kind: EventKind);
}

impl Emit for Reporter<'_> {
    fn emit(&self, kind: EventKind) {
        Reporter::emit(self, kind);
    }
}

/// What a step tells of itself while it runs.
pub struct StepReporter<'r> {
    reporter: &'r dyn Emit,
    step: String,
    told: Mutex<Option<Instant>>,
}

impl<'r> StepReporter<'r> {
    /// Of the step of this id.
    pub fn new(reporter: &'r Reporter<'_>, step: &str) -> Self {
        Self { reporter, step: step.to_owned(), told: Mutex::new(None) }
    }

    /// Something deserves attention.
    pub fn warn(&self, message: impl Into<String>) {
        let step = Some(self.step.clone());
        self.reporter.emit(EventKind::Warned { step, message: message.into() });
    }

    /// The step has done so many bytes, of so many where that is known. It may be told often, and tells on
    /// at most twice a second.
    pub fn bytes(&self, done: u64, total: Option<u64>, note: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        self.progress(done, total, Unit::Bytes, Some(note.to_owned()));
    }

    /// The step has done so much, and says what it is at.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: Unit, note: Option<String>) {
        let step = self.step.clone();
        self.reporter.emit(EventKind::Progress { step, done, total, unit, note });
    }
}
