//! Whether the newest backup is too old. It is asked by a timer of its own, never by the backup.

use bedplate_model::host::Backup;

use super::record::Record;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// A clock may be off by this much before it is in doubt.
const SLACK: u64 = DAY;

/// How old the newest backup may be, in seconds: what host.toml says, or two periods of the schedule
/// and two hours. A schedule that is no single word is taken for a daily one.
pub fn limit(backup: &Backup) -> u64 {
    if let Some(hours) = backup.stale_after_hours {
        return u64::from(hours) * HOUR;
    }
    let period = match backup.schedule.as_str() {
        "minutely" | "hourly" => HOUR,
        "weekly" => 7 * DAY,
        "monthly" => 31 * DAY,
        "quarterly" => 92 * DAY,
        "semiannually" => 183 * DAY,
        "yearly" | "annually" => 366 * DAY,
        _ => DAY,
    };
    2 * period + 2 * HOUR
}

/// What is wrong with the age of the newest backup at `now`, in seconds since 1970. Of one that
/// never was nothing is said here: how long that may last is for whoever keeps time.
pub fn stale(backup: &Backup, record: &Record, now: u64) -> Option<String> {
    let success = record.last_success.as_ref()?;
    if success.at > now + SLACK {
        return Some("the newest is of a time to come: the clock is off, or was".into());
    }
    let old = now.saturating_sub(success.at);
    (old > limit(backup)).then(|| format!("the newest is {} old", age(old)))
}

pub(crate) fn age(seconds: u64) -> String {
    if seconds < 2 * DAY {
        format!("{} hours", seconds / HOUR)
    } else {
        format!("{} days", seconds / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::record::Attempt;
    use bedplate_sample as sample;

    const NOW: u64 = 1_800_000_000;

    fn backup() -> Backup {
        sample::intent().backups.remove("apps").unwrap()
    }

    fn succeeded(at: u64) -> Record {
        let attempt = Attempt { at, snapshot: None, added: 0, failure: None };
        Record { last_success: Some(attempt), ..Record::default() }
    }

    #[test]
    fn a_daily_backup_is_stale_after_two_days_and_two_hours() {
        let backup = backup();
        assert_eq!(stale(&backup, &succeeded(NOW - 50 * HOUR), NOW), None);
        let told = stale(&backup, &succeeded(NOW - 51 * HOUR), NOW);
        assert_eq!(told.as_deref(), Some("the newest is 2 days old"));
        let told = Backup { stale_after_hours: Some(6), ..backup };
        assert_eq!(
            stale(&told, &succeeded(NOW - 7 * HOUR), NOW).as_deref(),
            Some("the newest is 7 hours old")
        );
    }

    #[test]
    fn f9_a_clock_that_went_back_is_told_and_no_backup_is_taken_for_fresh() {
        assert_eq!(stale(&backup(), &succeeded(NOW + HOUR), NOW), None);
        let told = stale(&backup(), &succeeded(NOW + 400 * DAY), NOW).unwrap();
        assert!(told.contains("clock"), "{told}");
    }
}
