//! Answers that do not fit the machine: refused, nothing written, no reboot. Run by name.
//!
//! Once from the medium as its owner starts it, by firmware, boot loader and systemd; what else is
//! refused is refused by the same program, which the small machine starts in a third of the time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image::{bytes_with_data, sha256_of};
use bedplate_qemu_harness::machine::{Disk, DiskKind};
use bedplate_qemu_harness::running::Running;
use bedplate_tests::medium::put_answers;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::shape::Shape;
use bedplate_tests::power_cut::subject::Subject;
use bedplate_tests::seed::{self, CANARY, MEDIUM, Sizes};
use bedplate_tests::story::Story;

const LIMIT: Duration = Duration::from_secs(180);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(5);

/// Starts the machine, waits until the installer refuses in these words, and looks at every disk.
fn refused(disks: &[Disk], says: &str, start: impl FnOnce() -> Running) {
    let data = |disk: &Disk| bytes_with_data(disk).unwrap();
    let before: Vec<u64> = disks.iter().map(data).collect();
    let canary = disks.iter().find(|disk| disk.role == CANARY).unwrap();
    let content = sha256_of(&canary.file).unwrap();
    let running = start();
    running.wait_for_text(&[says], LIMIT).unwrap_or_else(|error| panic!("{error}"));
    running.wait_for_text(&["Nothing further will be written"], LIMIT).unwrap();
    running.stays_up(&["reboot: Restarting", "reboot: Power down"], LATE).unwrap();
    assert_eq!(running.qmp().status().unwrap(), "running");
    for (disk, before) in disks.iter().zip(before) {
        let role = &disk.role;
        let counters = running.qmp().counters(role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
        assert_eq!(data(disk), before, "{role} has other data");
    }
    // The small one byte by byte, the large ones by what of them is allocated.
    assert_eq!(sha256_of(&canary.file).unwrap(), content, "{CANARY} has changed");
    assert_eq!(running.qmp().counters(MEDIUM).unwrap().writes, 0);
}

/// T04: the disk is there, but it is another one than was meant.
fn another_disk(directory: &Path) {
    let tell = Arc::new(|line: &str| println!("{line}"));
    let story = Story::begin(directory, Sizes::Small, false, tell).unwrap();
    let medium = story.medium(true).unwrap();
    let guest = story.guest().unwrap();
    let host = story.host_toml(&guest).unwrap();
    let serial = host.replacen("expect_serial = \"BPVM20001\"", "expect_serial = \"OTHER\"", 1);
    assert_ne!(serial, host);
    put_answers(&medium, &serial).unwrap();
    story.make_disks().unwrap();
    refused(&story.disks(), "OTHER", || story.start_medium(&medium).unwrap());
}

/// Answers that are not even a document of ours, or name what is not there.
fn other_answers(directory: &Path) {
    let subject = Subject::of(Shape::Cached, directory).unwrap();
    let disks = subject.disks(directory);
    let host = Shape::Cached.host_toml();
    let one = disks.iter().find(|disk| disk.role == "one").unwrap().by_id();
    let start = || {
        let tell = |line: &str| println!("{line}");
        subject.installing(disks.clone()).start(directory, Some(Arc::new(tell))).unwrap()
    };
    for (from, to, says) in [
        // A named disk is missing.
        (one.as_str(), "virtio-GONE", "virtio-GONE"),
        // T14: a mistake in the document, with line and column.
        ("unattended = true", "unatended = true", "unatended"),
    ] {
        let answers = host.replacen(from, to, 1);
        assert_ne!(answers, host);
        put_answers(&subject.medium.file, &answers).unwrap();
        blank(&disks).unwrap();
        refused(&disks, says, start);
    }
    put_answers(&subject.medium.file, &host).unwrap();
    two_media(&subject, directory, &disks);
}

/// T12, T47: two media of one build, one with this machine's answers and one with another's.
fn two_media(subject: &Subject, directory: &Path, disks: &[Disk]) {
    let other = Disk {
        role: "other-medium".to_owned(),
        kind: DiskKind::VirtioBlk,
        serial: "BPMEDIUM0002".to_owned(),
        boot_index: None,
        ..seed::medium(&directory.join("other.iso"), 0)
    };
    std::fs::copy(&subject.medium.file, &other.file).unwrap();
    let answers = Shape::Cached.host_toml().replacen("name = \"small\"", "name = \"other\"", 1);
    assert_ne!(answers, Shape::Cached.host_toml());
    put_answers(&other.file, &answers).unwrap();
    blank(disks).unwrap();
    refused(disks, "two media of one build are plugged in", || {
        let mut machine = subject.installing(disks.to_vec());
        machine.disks.push(other);
        let tell = |line: &str| println!("{line}");
        machine.start(directory, Some(Arc::new(tell))).unwrap()
    });
}

/// One after the other in one test: each fills the machine.
#[test]
fn t04_t14_answers_that_do_not_fit_are_refused_and_nothing_is_written() {
    let directory = tempfile::Builder::new().prefix("bedplate-refusal-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    another_disk(&directory.path().join("whole"));
    std::fs::create_dir(directory.path().join("small")).unwrap();
    other_answers(&directory.path().join("small"));
}
