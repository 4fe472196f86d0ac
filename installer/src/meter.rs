//! How many bytes of a step are done, told as it goes.

use std::sync::atomic::{AtomicU64, Ordering};

use bedplate_engine::{Reporter, StepReporter};
use bedplate_events::Unit;

/// An event each so many bytes keeps the channel quiet; a renderer slows it further.
const TELL_EACH: u64 = 8 << 20;

/// Counts the bytes of one step, from several threads.
pub struct Meter<'a> {
    of_step: StepReporter<'a>,
    total: u64,
    done: AtomicU64,
    told: AtomicU64,
}

impl<'a> Meter<'a> {
    /// Nothing is done yet.
    pub fn new(reporter: &'a Reporter<'_>, step: &str, total: u64) -> Self {
        let of_step = StepReporter::new(reporter, step);
        Self { of_step, total, done: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// So many more bytes are done.
    pub fn add(&self, bytes: u64) {
        let now = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let before = self.told.load(Ordering::Relaxed);
        let due = now >= before + TELL_EACH || now >= self.total;
        let told = |from| {
            self.told.compare_exchange(from, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if due && told(before) {
            self.of_step.progress(now, Some(self.total), Unit::Bytes, None);
        }
    }
}
