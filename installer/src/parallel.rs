//! Work on many things by a few threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` on every item by so many threads. After a failure nothing new is begun, and the
/// first failure is returned once what was begun has ended.
pub fn try_each<T: Sync, E: Send>(
    items: &[T],
    workers: usize,
    work: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    for item in items {
        let _ = sender.send(item);
    }
    drop(sender);
    let stopped = AtomicBool::new(false);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while !stopped.load(Ordering::SeqCst)
                    && let Ok(item) = receiver.recv()
                {
                    if let Err(error) = work(item) {
                        stopped.store(true, Ordering::SeqCst);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Readers and writers a processor: one waits for a disk while the other encrypts.
const WORKERS_A_PROCESSOR: usize = 2;

/// How many threads move data between disks.
pub fn movers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * WORKERS_A_PROCESSOR
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<u64> = (1..=100).collect();
        let sum = AtomicU64::new(0);
        let done = try_each(&items, 4, &|item| {
            sum.fetch_add(*item, Ordering::SeqCst);
            Ok::<(), ()>(())
        });
        assert_eq!((done, sum.into_inner()), (Ok(()), 5050));
    }

    #[test]
    fn after_a_failure_nothing_new_is_begun() {
        let begun = AtomicU64::new(0);
        let done = try_each(&[1, 2, 3, 4], 1, &|item| {
            begun.fetch_add(1, Ordering::SeqCst);
            if *item == 2 { Err("two") } else { Ok(()) }
        });
        assert_eq!((done, begun.into_inner()), (Err("two"), 2));
    }
}
