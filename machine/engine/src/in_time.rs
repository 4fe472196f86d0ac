//! Looking at what may never answer: a disk, a mount, a daemon.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

/// Something that was asked, and may not answer.
pub struct Asked<T>(Receiver<T>);

/// Begins to look, in a thread that is left behind when it waits for the kernel: nothing ends it.
pub fn ask<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Asked<T> {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(look()));
    Asked(receiver)
}

impl<T> Asked<T> {
    /// What was found by then; none when nothing was.
    pub fn by(self, until: Instant) -> Option<T> {
        self.0.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }
}
