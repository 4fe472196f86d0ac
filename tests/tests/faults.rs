//! Disks that fail or vanish while they are installed to: the failure says which, in which state
//! it was left and what to do, the logs are kept, and the machine stays up. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_events::{DeviceState, Event, EventKind};
use bedplate_qemu_harness::faults::Fails;
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::running::Running;
use bedplate_tests::medium::put_answers;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::subject::Subject;
use bedplate_tests::seed::KEY;
use bedplate_tests::small;

const LIMIT: Duration = Duration::from_secs(900);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(5);

/// Less than an OS disk has to have, whatever system stands on the medium. (What a larger system
/// takes is decided alike, and tested without a machine: this medium's is small.)
const TOO_SMALL: u64 = 3 << 30;

struct Faults<'d> {
    subject: Subject,
    directory: &'d Path,
    disks: Vec<Disk>,
}

/// What a failure said.
#[derive(Debug)]
struct Said {
    step: Option<String>,
    device: Option<String>,
    state: Option<DeviceState>,
    causes: Vec<String>,
    next: String,
}

impl Faults<'_> {
    fn start(&self, disks: &[Disk]) -> Running {
        blank(disks).unwrap();
        let tell = |line: &str| println!("{line}");
        let machine = self.subject.installing(disks.to_vec());
        machine.start(self.directory, Some(Arc::new(tell))).unwrap()
    }

    fn named(&self, role: &str) -> String {
        let disk = self.disks.iter().find(|disk| disk.role == role).unwrap();
        format!("{role} ({})", disk.by_id())
    }

    /// Installs, calls `fault` when `step` begins, and returns what the failure said.
    fn fails_from(&self, step: &str, fault: impl Fn(&Running)) -> (Running, Said) {
        let running = self.start(&self.disks);
        let begins = |event: &Event| matches!(&event.kind, EventKind::StepStarted { step: begun } if begun == step);
        running.wait_for_event(step, LIMIT, begins).unwrap();
        fault(&running);
        let failed = |event: &Event| matches!(event.kind, EventKind::Failed { .. });
        let event = running.wait_for_event("a failure", LIMIT, failed).unwrap();
        let EventKind::Failed { step, device, state, causes, next, .. } = event.kind else {
            unreachable!()
        };
        stays_up(&running);
        (running, Said { step, device, state, causes, next })
    }
}

fn stays_up(running: &Running) {
    running.wait_for_text(&["Nothing further will be written"], LIMIT).unwrap();
    running.stays_up(&["reboot: Restarting", "reboot: Power down"], LATE).unwrap();
    assert_eq!(running.qmp().status().unwrap(), "running");
}

/// The files of the one directory of logs on the key stick.
fn logs(stick: &Path) -> (String, String) {
    let system = fatfs::FileSystem::new(File::open(stick).unwrap(), fatfs::FsOptions::new());
    let system = system.unwrap();
    let logs = system.root_dir().open_dir("bedplate/logs").unwrap();
    let names = logs.iter().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let read = |name: &str| {
        let mut text = Vec::new();
        let path = format!("{}/{name}", names[0]);
        logs.open_file(&path).unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    (read("events.jsonl"), read("journal.log"))
}

/// F3: a disk of a pool is pulled while the volumes are encrypted.
fn a_disk_vanishes(faults: &Faults<'_>) {
    let (running, said) =
        faults.fails_from("luks-os", |running| running.qmp().unplug("two").unwrap());
    let two = faults.named("two");
    assert_eq!(said.device.as_ref(), Some(&two), "{said:?}");
    assert!(matches!(said.state, Some(DeviceState::Partial | DeviceState::Written)), "{said:?}");
    assert!(said.step.is_some(), "{said:?}");
    assert!(said.causes.iter().any(|cause| cause.contains("the kernel")), "{said:?}");
    assert!(said.next.contains("cable") && said.next.contains("boot the medium again"), "{said:?}");
    let console = running.console();
    assert!(console.contains(&format!("device: {two}, written")), "{console}");
    assert!(console.contains("the logs were saved on the key stick"), "{console}");
    let stick = faults.disks.iter().find(|disk| disk.role == KEY).unwrap();
    let (events, journal) = logs(&stick.file);
    assert!(events.lines().any(|line| line.contains("\"event\":\"failed\"")), "{events}");
    assert!(journal.contains("Linux version"), "no journal on the key stick");
}

/// F2: the OS disk stops taking writes while the system is copied to it.
fn a_disk_refuses_writes(faults: &Faults<'_>) {
    let (_, said) = faults.fails_from("copy-closure", |running| {
        running.qmp().break_disk("os", Fails::Writes).unwrap();
    });
    assert_eq!(said.device, Some(faults.named("os")), "{said:?}");
    assert!(matches!(said.state, Some(DeviceState::Partial | DeviceState::Written)), "{said:?}");
    assert!(said.step.is_some(), "{said:?}");
    assert!(said.causes.iter().any(|cause| cause.contains("the kernel says")), "{said:?}");
    assert!(said.next.contains("cable") && said.next.contains("boot the medium again"), "{said:?}");
}

/// F2: what cannot be read is never taken for blank. F8: a disk without room for the system is not
/// begun with. Both are said at once.
fn disks_that_cannot_be_read_or_are_too_small_are_refused(faults: &Faults<'_>) {
    let mut disks = faults.disks.clone();
    let os = disks.iter_mut().find(|disk| disk.role == "os").unwrap();
    (os.size, os.file) = (TOO_SMALL, faults.directory.join("small-os.img"));
    put_answers(&faults.subject.medium.file, &small::host_toml(&disks)).unwrap();
    let mut running = faults.start(&disks);
    running.qmp().break_disk("one", Fails::Reads).unwrap();
    running.wait_for_text(&["unreadable on the whole disk"], LIMIT).unwrap();
    stays_up(&running);
    let console = running.console();
    for text in [
        faults.named("os"),
        "bytes, 4294967296 are needed here".into(),
        "choose a larger disk".into(),
    ] {
        assert!(console.contains(&text), "no `{text}`:\n{console}");
    }
    // Whoever looks for the cause has the inventory at hand.
    running.wait_for_text(&["root@"], LIMIT).unwrap();
    running.type_line("bedplate inventory --json | grep SMTWO && echo inventory-''shown").unwrap();
    running.wait_for_text(&["inventory-shown"], LIMIT).unwrap();
    for Disk { role, .. } in &disks {
        let counters = running.qmp().counters(role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
    }
}

/// One after the other in one test: each fills the machine.
#[test]
fn f2_f3_f8_t09_a_disk_that_fails_is_named_with_its_state_and_nothing_reboots() {
    let directory = tempfile::Builder::new().prefix("bedplate-faults-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let subject = Subject::small(directory.path()).unwrap();
    let disks = small::disks(directory.path());
    let faults = Faults { subject, directory: directory.path(), disks };
    a_disk_vanishes(&faults);
    a_disk_refuses_writes(&faults);
    disks_that_cannot_be_read_or_are_too_small_are_refused(&faults);
}
