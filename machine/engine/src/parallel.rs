//! Work on many things by a few threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{ScopedJoinHandle, scope};

/// What is not done yet when an item asks whether it may begin.
pub struct Unfinished<'a, T> {
    /// Items before it, begun or not.
    pub before: Vec<&'a T>,
    /// Items that are being worked on.
    pub begun: Vec<&'a T>,
}

/// Does `work` on every item by so many threads. After a failure nothing new is begun, and the
/// first failure is returned once what was begun has ended.
pub fn try_each<T: Sync, E: Send>(
    items: &[T],
    workers: usize,
    work: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        // Nobody finds one that is left.
                        next.store(items.len(), Ordering::Relaxed);
                        failed().get_or_insert(error);
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// As [`try_each`], but an item is begun only when `may_begin`; one that may not lets later ones
/// go first. Where nothing is begun and nothing may, the first that is left is. For a few items:
/// each is looked at whenever one begins.
pub fn try_each_in_turn<T: Sync, E: Send>(
    items: &[T],
    workers: usize,
    may_begin: &(dyn Fn(&T, &Unfinished<'_, T>) -> bool + Sync),
    work: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let queue = Queue {
        items,
        may_begin,
        turns: Mutex::new(Turns {
            states: vec![State::Left; items.len()],
            stopped: false,
            failure: None,
        }),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                let _watch = StopOnPanic(&queue);
                while let Some((number, item)) = queue.next() {
                    queue.ended(number, work(item));
                }
            });
        }
    });
    let turns = queue.turns.into_inner().unwrap_or_else(PoisonError::into_inner);
    turns.failure.map_or(Ok(()), Err)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Left,
    Begun,
    Done,
}

struct Turns<E> {
    /// One an item.
    states: Vec<State>,
    /// Whether nothing new is begun.
    stopped: bool,
    /// The first.
    failure: Option<E>,
}

struct Queue<'a, T, E> {
    items: &'a [T],
    may_begin: &'a (dyn Fn(&T, &Unfinished<'_, T>) -> bool + Sync),
    turns: Mutex<Turns<E>>,
    changed: Condvar,
}

impl<'a, T, E> Queue<'a, T, E> {
    /// Waits for an item that may begin, and begins it; none when none is left.
    fn next(&self) -> Option<(usize, &'a T)> {
        let mut turns = self.turns();
        while !turns.stopped && turns.states.contains(&State::Left) {
            if let Some((number, item)) = self.first_that_may(&turns.states) {
                if let Some(state) = turns.states.get_mut(number) {
                    *state = State::Begun;
                }
                return Some((number, item));
            }
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn first_that_may(&self, states: &[State]) -> Option<(usize, &'a T)> {
        let all = || self.items.iter().enumerate().zip(states);
        let of = |wanted: State| all().filter(move |(_, state)| **state == wanted);
        let begun: Vec<&T> = of(State::Begun).map(|((_, item), _)| item).collect();
        let found = of(State::Left).find(|((number, item), _)| {
            let before = all().take(*number).filter(|(_, state)| **state != State::Done);
            let before = before.map(|((_, item), _)| item).collect();
            (self.may_begin)(item, &Unfinished { before, begun: begun.clone() })
        });
        let stuck = || of(State::Left).next().filter(|_| begun.is_empty());
        found.or_else(stuck).map(|(left, _)| left)
    }

    fn ended(&self, number: usize, result: Result<(), E>) {
        let mut turns = self.turns();
        if let Some(state) = turns.states.get_mut(number) {
            *state = State::Done;
        }
        if let Err(error) = result {
            turns.stopped = true;
            turns.failure.get_or_insert(error);
        }
        drop(turns);
        self.changed.notify_all();
    }

    fn turns(&self) -> MutexGuard<'_, Turns<E>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody waits for an item whose thread is gone: the panic goes on to whoever called.
struct StopOnPanic<'a, 'b, T, E>(&'a Queue<'b, T, E>);

impl<T, E> Drop for StopOnPanic<'_, '_, T, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.turns().stopped = true;
            self.0.changed.notify_all();
        }
    }
}

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

/// Readers and writers a processor: one waits for a disk while the other encrypts.
const WORKERS_A_PROCESSOR: usize = 2;

/// How many threads move data between disks.
pub fn movers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * WORKERS_A_PROCESSOR
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
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

    #[test]
    fn an_item_that_has_to_wait_lets_others_go_first() {
        let order = Mutex::new(Vec::new());
        // Nobody begins beside or before one of the same parity.
        let may_begin = |item: &u64, unfinished: &Unfinished<'_, u64>| {
            unfinished.before.iter().all(|before| *before % 2 != item % 2)
        };
        let met = Barrier::new(2);
        let done = try_each_in_turn(&[1, 3, 2], 2, &may_begin, &|item| {
            // The first ends only beside the last, so the second let it go before.
            if *item != 3 {
                met.wait();
            }
            order.lock().unwrap().push(*item);
            Ok::<(), ()>(())
        });
        let order = order.into_inner().unwrap();
        let place = |item: u64| order.iter().position(|done| *done == item).unwrap();
        assert!(done.is_ok() && place(3) > place(1), "{order:?}");
    }

    #[test]
    fn what_may_never_begin_does_so_when_nothing_else_is_left_to_wait_for() {
        let begun = AtomicU64::new(0);
        let done = try_each_in_turn(&[1, 2], 4, &|_, _| false, &|_| {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        });
        assert_eq!((done, begun.into_inner()), (Ok(()), 2));
    }

    #[test]
    fn a_panic_is_not_waited_for() {
        let may_begin = |_: &u64, unfinished: &Unfinished<'_, u64>| unfinished.before.is_empty();
        let ended = std::panic::catch_unwind(|| {
            try_each_in_turn(&[1, 2], 2, &may_begin, &|item| {
                assert_ne!(*item, 1, "on purpose");
                Ok::<(), ()>(())
            })
        });
        assert!(ended.is_err());
    }
}
