//! A machine announces itself and is found, over this machine's own network interfaces.

#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::time::{Duration, Instant};

use bedplate_discovery::{Activity, Announcement, Discovered, Disk, Summary, look};

/// Other machines may be busy with answering too.
const PATIENCE: Duration = Duration::from_secs(30);

fn find(name: &str, wanted: impl Fn(&Discovered) -> bool) -> Option<Discovered> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let found = look(Duration::from_secs(3)).unwrap();
        let one = found.into_iter().find(|found| found.name == name && wanted(found));
        if one.is_some() {
            return one;
        }
    }
    None
}

#[test]
fn a_machine_that_announces_itself_is_found_and_its_changes_are_seen() {
    let label = format!("bedplate-test-{}", std::process::id());
    let name = format!("{label}.local");
    let disk = Disk { transport: "nvme".into(), size: 500_107_862_016 };
    let waiting = Summary {
        activity: Activity::Waiting,
        memory_bytes: Some(16 << 30),
        disks: vec![disk],
        more_disks: 0,
    };
    let announcement = Announcement::begin(&label, 22, &waiting).unwrap();
    let found = find(&name, |_| true).unwrap();
    assert_eq!((found.port, &found.summary), (22, &waiting));
    assert!(!found.addresses.is_empty());
    let busy = Summary { activity: Activity::Busy, ..waiting };
    announcement.update(&busy).unwrap();
    assert_eq!(
        find(&name, |found| found.summary.activity == Activity::Busy).unwrap().summary,
        busy
    );
    drop(announcement);
    std::thread::sleep(Duration::from_secs(2));
    let found = look(Duration::from_secs(3)).unwrap();
    assert!(found.iter().all(|found| found.name != name), "{found:?}");
}
