//! Locks on a repository: what a process of this host left behind goes, another host's stays.

use bedplate_tools::restic::Lock;

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
pub fn decide(locks: &[Lock], host: &str, lives: &dyn Fn(u32) -> bool) -> Decision {
    let others = locks.iter().find(|lock| lock.hostname != host);
    let alive = locks.iter().find(|lock| lock.hostname == host && lives(lock.pid));
    match (others, alive) {
        (Some(lock), _) => Decision::Wait(format!("the host {} holds a lock", lock.hostname)),
        (None, Some(lock)) => Decision::Wait(format!("process {} holds a lock", lock.pid)),
        (None, None) if locks.is_empty() => Decision::Free,
        (None, None) => Decision::Unlock,
    }
}

/// Whether a process of this machine lives.
pub fn lives(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(hostname: &str, pid: u32) -> Lock {
        Lock { hostname: hostname.into(), pid, exclusive: false }
    }

    #[test]
    fn a_lock_of_another_host_is_never_broken() {
        let nobody = |_: u32| false;
        let one = |pid: u32| pid == 7;
        assert_eq!(decide(&[], "hv", &nobody), Decision::Free);
        assert_eq!(decide(&[lock("hv", 7), lock("hv", 8)], "hv", &nobody), Decision::Unlock);
        assert!(matches!(decide(&[lock("hv", 7)], "hv", &one), Decision::Wait(_)));
        let both = [lock("hv", 7), lock("nas", 7)];
        let Decision::Wait(why) = decide(&both, "hv", &nobody) else { panic!("unlocks") };
        assert!(why.contains("nas"), "{why}");
        // A lock that does not say whose it is counts as another's.
        assert!(matches!(decide(&[lock("", 0)], "hv", &nobody), Decision::Wait(_)));
    }

    #[test]
    fn this_process_lives() {
        assert!(lives(std::process::id()));
        assert!(!lives(u32::MAX));
    }
}
