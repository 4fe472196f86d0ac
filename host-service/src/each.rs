//! Asking many at the same time.

use std::panic::resume_unwind;
use std::thread::{ScopedJoinHandle, scope};

/// Does the same with each of `all`, with all at the same time, and returns how that ended in their order:
/// what does not answer costs one limit and not one for each.
pub fn at_once<I: Sync, T: Send>(all: &[I], of: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let of = &of;
    scope(|scope| {
        let running: Vec<_> = all.iter().map(|one| scope.spawn(move || of(one))).collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended.map(|one| one.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
