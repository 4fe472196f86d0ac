//! Days for people.

use time::OffsetDateTime;

/// The day of a moment in seconds since 1970, as `2026-11-21`, in UTC; of one that no calendar
/// has, the seconds.
pub(super) fn of(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok();
    let moment = moment.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| format!("{seconds} s"), |moment| moment.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(of(0), "1970-01-01");
        assert_eq!(of(951_782_399), "2000-02-28");
        assert_eq!(of(951_782_400), "2000-02-29");
        assert_eq!(of(1_795_219_200), "2026-11-21");
        assert!(!of(u64::MAX).is_empty());
    }
}
