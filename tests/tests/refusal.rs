//! Answers that do not fit the machine: refused, nothing written, no reboot. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image::{bytes_with_data, sha256_of};
use bedplate_qemu_harness::machine::Disk;
use bedplate_tests::medium::put_answers;
use bedplate_tests::seed::{CANARY, MEDIUM, Sizes};
use bedplate_tests::story::Story;

const LIMIT: Duration = Duration::from_secs(180);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(15);

fn refused(story: &Story, medium: &Path, host: &str, says: &str) {
    let canary = story.make_disks().unwrap();
    let data = |disk: &Disk| bytes_with_data(disk).unwrap();
    let before: Vec<u64> = story.disks().iter().map(data).collect();
    put_answers(medium, host).unwrap();
    let running = story.start_medium(medium).unwrap();
    running.wait_for_text(&[says], LIMIT).unwrap_or_else(|error| panic!("{error}"));
    running.wait_for_text(&["Nothing further will be written"], LIMIT).unwrap();
    running.stays_up(&["reboot: Restarting", "reboot: Power down"], LATE).unwrap();
    assert_eq!(running.qmp().status().unwrap(), "running");
    for (disk, before) in story.disks().into_iter().zip(before) {
        let role = &disk.role;
        let counters = running.qmp().counters(role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
        // The small one byte by byte, the large ones by what of them is allocated.
        match role.as_str() {
            CANARY => assert_eq!(sha256_of(&disk.file).unwrap(), canary, "{role} has changed"),
            _ => assert_eq!(data(&disk), before, "{role} has other data"),
        }
    }
    assert_eq!(running.qmp().counters(MEDIUM).unwrap().writes, 0);
}

/// One after the other in one test: each fills the machine.
#[test]
fn answers_that_do_not_fit_are_refused_and_nothing_is_written() {
    let directory = tempfile::Builder::new().prefix("bedplate-refusal-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let tell = Arc::new(|line: &str| println!("{line}"));
    let story = Story::begin(directory.path(), Sizes::Small, false, tell).unwrap();
    let medium = story.medium(true).unwrap();
    let guest = story.guest().unwrap();
    let host = story.host_toml(&guest).unwrap();

    // T04: the disk is there, but it is another one than was meant.
    let serial = host.replacen("expect_serial = \"BPVM20001\"", "expect_serial = \"OTHER\"", 1);
    assert_ne!(serial, host);
    refused(&story, &medium, &serial, "OTHER");

    // A named disk is missing.
    let id = "nvme-QEMU_NVMe_Ctrl_BPVM30001";
    let missing = host.replacen(id, "nvme-QEMU_NVMe_Ctrl_GONE", 1);
    assert_ne!(missing, host);
    refused(&story, &medium, &missing, "nvme-QEMU_NVMe_Ctrl_GONE");

    // T14: a mistake in the document, with line and column.
    let typo = host.replacen("unattended = true", "unatended = true", 1);
    assert_ne!(typo, host);
    refused(&story, &medium, &typo, "unatended");
}
