//! What partitioning, encrypting and formatting took, beside what the keys alone have to cost.

use std::time::Duration;

use bedplate_events::Event;
use bedplate_events::progress::Progress;

/// Times of one installation, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFigure {
    /// From the first partition table to the last volume and file system.
    pub took: u64,
    /// The one Argon2id benchmark: between the last table and the first header.
    pub benchmark: u64,
    /// One Argon2id run a volume, as the test of the keys makes them, side by side too; the
    /// keyfile's keyslot is tested with it, which costs a tenth.
    pub runs: u64,
}

impl DiskFigure {
    /// From the events of an installation; none when it did not get that far.
    pub fn of(events: &[Event]) -> Option<Self> {
        let progress = Progress::of(events);
        let mut ended = progress.ended();
        ended.retain(|(_, ended)| ended.how.is_done());
        let is_one =
            |step: &str, prefixes: &[&str]| prefixes.iter().any(|one| step.starts_with(one));
        let begun = |prefix: &str| {
            let of = ended.iter().filter(|(step, _)| is_one(step, &[prefix]));
            of.filter_map(|(_, ended)| ended.began).min()
        };
        let done = |prefixes: &[&str]| {
            let of = ended.iter().filter(|(step, _)| is_one(step, prefixes));
            of.map(|(_, ended)| ended.at).max()
        };
        done(&["btrfs-"])?;
        Some(Self {
            took: done(&["luks-", "btrfs-"])?.checked_sub(begun("partition-")?)?,
            benchmark: begun("luks-")?.checked_sub(done(&["partition-", "esp-"])?)?,
            runs: done(&["verify-keys"])?.checked_sub(begun("verify-keys")?)?,
        })
    }

    /// With runs that were made in another way.
    pub fn with_runs(self, runs: Duration) -> Self {
        Self { runs: u64::try_from(runs.as_millis()).unwrap_or(u64::MAX), ..self }
    }

    /// The benchmark, the runs, and a fifth on top.
    pub fn allowed(&self) -> u64 {
        (self.benchmark + self.runs) * 6 / 5
    }
}

#[cfg(test)]
mod tests {
    use bedplate_events::{EVENT_SCHEMA, EventKind, Outcome};

    use super::*;

    fn events(steps: &[(&str, u64, u64)]) -> Vec<Event> {
        let event = |at_ms, kind| Event { schema: EVENT_SCHEMA, sequence: 0, at_ms, kind };
        let both = |(step, begun, done): &(&str, u64, u64)| {
            let (step, milliseconds) = ((*step).to_owned(), done - begun);
            let started = event(*begun, EventKind::StepStarted { step: step.clone() });
            let outcome = Outcome::Done;
            [started, event(*done, EventKind::StepDone { step, outcome, milliseconds })]
        };
        steps.iter().flat_map(both).collect()
    }

    #[test]
    fn the_figure_spans_tables_headers_and_file_systems() {
        let all = [
            ("partition-os", 1000, 1500),
            ("esp-os", 1500, 2000),
            ("luks-vm2", 10_000, 14_000),
            ("luks-vm1", 10_000, 15_000),
            ("btrfs-data", 15_000, 16_000),
            ("luks-os", 14_000, 17_000),
            ("verify-keys", 50_000, 60_000),
        ];
        let figure = DiskFigure::of(&events(&all)).unwrap();
        assert_eq!(figure, DiskFigure { took: 16_000, benchmark: 8000, runs: 10_000 });
        assert_eq!(figure.allowed(), 21_600);
        assert_eq!(figure.with_runs(Duration::from_secs(12)).allowed(), 24_000);
        assert_eq!(DiskFigure::of(&events(&all[..6])), None);
    }
}
