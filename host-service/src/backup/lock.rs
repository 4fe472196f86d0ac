//! Locks on a repository: what a process of this host left behind goes, another host's stays.

use std::fs;
use std::path::Path;

use bedplate_tools::restic::Lock;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What to do about the locks that are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is in the way.
    Free,
    /// All are of processes of this host that are gone: restic may remove what is stale.
    Unlock,
    /// Somebody works with the repository; restic waits for a while.
    Wait(String),
}

/// Decides by all locks of a repository, this host's name, and which of its processes live.
///
/// restic removes, when asked, every lock older than half an hour, whosever it is. So it is never
/// asked while there is a lock of another host.
pub fn decide(locks: &[Lock], host: &str, lives: &dyn Fn(&Lock) -> bool) -> Decision {
    let others = locks.iter().find(|lock| lock.hostname != host);
    let alive = locks.iter().find(|lock| lock.hostname == host && lives(lock));
    match (others, alive) {
        (Some(lock), _) if lock.hostname.is_empty() => {
            Decision::Wait("there is a lock that does not say whose it is".into())
        }
        (Some(lock), _) => Decision::Wait(format!("the host {} holds a lock", lock.hostname)),
        (None, Some(lock)) => Decision::Wait(format!("process {} holds a lock", lock.pid)),
        (None, None) if locks.is_empty() => Decision::Free,
        (None, None) => Decision::Unlock,
    }
}

/// Whether the process of this machine that took a lock lives.
pub fn lives(lock: &Lock) -> bool {
    lives_in(Path::new("/proc"), lock)
}

/// After a restart of the machine the number of the process may be a stranger's. A lock that says
/// nothing of its time, or one of a time that is in doubt because the clock was put right since (F9),
/// is not broken while a restic has that number.
fn lives_in(processes: &Path, lock: &Lock) -> bool {
    let process = processes.join(lock.pid.to_string());
    if !process.exists() {
        return false;
    }
    match (seconds(&lock.time), booted(processes)) {
        (Some(taken), Some(booted)) if taken < booted => {
            let name = fs::read_to_string(process.join("comm"));
            name.is_ok_and(|name| name.contains("restic"))
        }
        _ => true,
    }
}

/// When this machine was started, in seconds since 1970.
fn booted(processes: &Path) -> Option<i64> {
    let text = fs::read_to_string(processes.join("stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Seconds since 1970 of a time such as `2026-11-22T15:30:05.123456789+01:00` (RFC 3339).
fn seconds(time: &str) -> Option<i64> {
    OffsetDateTime::parse(time, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(hostname: &str, pid: u32) -> Lock {
        Lock { hostname: hostname.into(), pid, ..Lock::default() }
    }

    #[test]
    fn a_lock_of_another_host_is_never_broken() {
        let nobody = |_: &Lock| false;
        let one = |lock: &Lock| lock.pid == 7;
        assert_eq!(decide(&[], "hv", &nobody), Decision::Free);
        assert_eq!(decide(&[lock("hv", 7), lock("hv", 8)], "hv", &nobody), Decision::Unlock);
        assert!(matches!(decide(&[lock("hv", 7)], "hv", &one), Decision::Wait(_)));
        let both = [lock("hv", 7), lock("nas", 7)];
        let Decision::Wait(why) = decide(&both, "hv", &nobody) else { panic!("unlocks") };
        assert!(why.contains("nas"), "{why}");
        // A lock that does not say whose it is, or cannot be read, counts as another's.
        let unread = [lock("hv", 7), Lock::default()];
        let Decision::Wait(why) = decide(&unread, "hv", &nobody) else { panic!("unlocks") };
        assert!(why.contains("whose"), "{why}");
    }

    #[test]
    fn this_process_lives() {
        assert!(lives(&lock("hv", std::process::id())));
        assert!(!lives(&lock("hv", u32::MAX)));
        let of = |time: &str| lives(&Lock { time: time.into(), ..lock("hv", std::process::id()) });
        assert!(of("2999-01-01T00:00:00Z") && !of("1970-01-02T00:00:00Z"), "no boot time");
    }

    #[test]
    fn a_lock_of_before_the_machine_was_started_is_no_strangers_who_has_its_number() {
        let processes = tempfile::tempdir().unwrap();
        let stranger = processes.path().join("7");
        fs::create_dir(&stranger).unwrap();
        fs::write(stranger.join("comm"), "sshd\n").unwrap();
        fs::write(processes.path().join("stat"), "cpu 1\nbtime 1800000000\n").unwrap();
        let lives =
            |time: &str| lives_in(processes.path(), &Lock { time: time.into(), ..lock("hv", 7) });
        // 1800000000 is 2027-01-15T08:00:00Z.
        assert!(!lives("2027-01-15T07:59:59.999999999Z"));
        assert!(!lives("2027-01-15T08:59:59.5+01:00"));
        assert!(lives("2027-01-15T08:00:00Z") && lives("2027-01-15T02:30:00-05:30"));
        assert!(lives("") && lives("yesterday"), "nobody knows");
        // f9: a clock that was put right makes what is locked look old.
        fs::write(stranger.join("comm"), ".restic-wrapped\n").unwrap();
        assert!(lives("1970-01-01T00:10:00Z"));
        fs::remove_dir_all(&stranger).unwrap();
        assert!(!lives("2027-01-15T08:00:00Z"));
    }

    #[test]
    fn times_are_read_as_restic_writes_them() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T23:59:59.123+00:00"), Some(1_709_251_199));
        assert_eq!(seconds("2000-03-01T00:00:00-01:30"), Some(951_874_200));
        for bad in
            ["", "2024", "2024-02-29T23:59:59", "2024-02-29T23:59:59+", "2024-02-29T23:59:59Zx"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(seconds("éééééééééééééééééééé"), None);
    }
}
