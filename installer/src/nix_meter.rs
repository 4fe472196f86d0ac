//! How far a build by Nix is, told as it goes.

use std::time::{Duration, Instant};

use bedplate_engine::{Reporter, StepReporter};
use bedplate_events::Unit;
use bedplate_tools::nix_log::Progress;

/// Nix says it thousands of times a second; this often is enough.
const TELL_EACH: Duration = Duration::from_millis(250);

/// Tells of one build.
pub struct NixMeter<'a> {
    of_step: StepReporter<'a>,
    told: Option<Instant>,
}

impl<'a> NixMeter<'a> {
    /// Nothing is done yet.
    pub fn new(reporter: &'a Reporter<'_>, step: &str) -> Self {
        Self { of_step: StepReporter::new(reporter, step), told: None }
    }

    /// Tells of `progress`, unless something was told a moment ago.
    pub fn tell(&mut self, progress: &Progress) {
        let now = Instant::now();
        if self.told.is_some_and(|last| now < last + TELL_EACH) {
            return;
        }
        let (done, total, unit) = amount(progress);
        self.of_step.progress(done, total, unit, progress.at.clone());
        self.told = Some(now);
    }
}

/// Bytes as long as some are on their way, then derivations.
fn amount(progress: &Progress) -> (u64, Option<u64>, Unit) {
    let Progress { copied, to_copy, built, to_build, .. } = *progress;
    if copied < to_copy || (to_copy > 0 && to_build == 0) {
        (copied, Some(to_copy), Unit::Bytes)
    } else {
        (built, (to_build > 0).then_some(to_build), Unit::Items)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bedplate_events::{Event, Sink};

    use super::*;

    #[test]
    fn bytes_are_told_while_they_come_and_builds_afterwards() {
        let mut progress = Progress::default();
        assert_eq!(amount(&progress), (0, None, Unit::Items));
        (progress.copied, progress.to_copy, progress.to_build) = (5, 9, 3);
        assert_eq!(amount(&progress), (5, Some(9), Unit::Bytes));
        (progress.copied, progress.built) = (9, 1);
        assert_eq!(amount(&progress), (1, Some(3), Unit::Items));
    }

    #[test]
    fn a_flood_of_progress_becomes_few_events() {
        struct Count(Arc<AtomicUsize>);
        impl Sink for Count {
            fn show(&mut self, _: &Event) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(AtomicUsize::new(0));
        let reporter = Reporter::new(vec![Box::new(Count(count.clone()))]);
        let mut meter = NixMeter::new(&reporter, "build-system");
        let begun = Instant::now();
        for copied in 0..10_000 {
            meter.tell(&Progress { copied, to_copy: 10_000, ..Progress::default() });
        }
        let most = begun.elapsed().as_millis() / TELL_EACH.as_millis() + 1;
        let told = count.load(Ordering::Relaxed) as u128;
        assert!((1..=most).contains(&told), "{told} of {most}");
    }
}
