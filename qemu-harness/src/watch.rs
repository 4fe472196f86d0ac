//! A value that can be waited on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A shared value; every change wakes those who wait.
#[derive(Debug, Default)]
pub struct Watch<T>(Arc<(Mutex<T>, Condvar)>);

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Watch<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes those who wait.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.0.1.notify_all();
        result
    }

    /// Looks at the value.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `find` finds something, or the deadline has passed.
    pub fn wait<R>(
        &self,
        deadline: Instant,
        mut find: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut value = self.lock();
        loop {
            if let Some(found) = find(&mut value) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let (next, _) =
                self.0.1.wait_timeout(value, left).unwrap_or_else(PoisonError::into_inner);
            value = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_wakes_who_waits_and_a_deadline_ends_the_wait() {
        let watch = Watch::<u32>::default();
        let other = watch.clone();
        let thread = std::thread::spawn(move || other.change(|value| *value = 7));
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(watch.wait(deadline, |value| (*value == 7).then_some(*value)), Some(7));
        thread.join().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(watch.wait(soon, |value| (*value == 8).then_some(())), None);
    }
}
