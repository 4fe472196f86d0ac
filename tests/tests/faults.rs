//! Disks that fail or vanish while they are installed to: the failure says which, in which state
//! it was left and what to do, the logs are kept, and the machine stays up. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::faults::Fails;
use bedplate_qemu_harness::guest_disk::GuestDisk;
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::running::Running;
use bedplate_spec::event::{DeviceState, Event, EventKind};
use bedplate_tests::medium::put_answers;
use bedplate_tests::seed::{KEY, Sizes};
use bedplate_tests::story::Story;

const LIMIT: Duration = Duration::from_secs(900);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(10);

struct Faults {
    story: Story,
    medium: PathBuf,
    host: String,
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

impl Faults {
    fn start(&self, host: &str) -> Running {
        put_answers(&self.medium, host).unwrap();
        self.story.start_medium(&self.medium).unwrap()
    }

    /// Installs, calls `fault` when `step` begins, and returns what the failure said.
    fn fails_from(&self, step: &str, fault: impl Fn(&Running)) -> (Running, Said) {
        self.story.make_disks().unwrap();
        let running = self.start(&self.host);
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
    let end = running.wait_for_text(&["reboot: Restarting", "reboot: Power down"], LATE);
    assert!(end.is_err() && !running.has_ended(), "the machine went down:\n{}", running.tail());
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

fn of_role(story: &Story, role: &str) -> Disk {
    story.disks().into_iter().find(|disk| disk.role == role).unwrap()
}

/// F3: a disk of a pool is pulled while the volumes are encrypted.
fn a_disk_vanishes(faults: &Faults) {
    let (running, said) =
        faults.fails_from("luks-os", |running| running.qmp().unplug("vm2").unwrap());
    let vm2 = of_role(&faults.story, "vm2");
    assert_eq!(said.device, Some(format!("vm2 ({})", vm2.by_id())), "{said:?}");
    assert!(matches!(said.state, Some(DeviceState::Partial | DeviceState::Written)), "{said:?}");
    assert!(said.step.as_deref().is_some_and(|step| step.starts_with("luks-")), "{said:?}");
    assert!(said.causes.iter().any(|cause| cause.contains("no longer has")), "{said:?}");
    assert!(said.next.contains("slot") && said.next.contains("wipe = \"ours\""), "{said:?}");
    let console = running.console();
    assert!(console.contains(&format!("device: vm2 ({}), written", vm2.by_id())), "{console}");
    assert!(console.contains("the logs were saved on the key stick"), "{console}");
    let (events, journal) = logs(&of_role(&faults.story, KEY).file);
    assert!(events.lines().any(|line| line.contains("\"event\":\"failed\"")), "{events}");
    assert!(journal.contains("Linux version"), "no journal on the key stick");
}

/// F2: the OS disk stops taking writes while the system is copied to it.
fn a_disk_refuses_writes(faults: &Faults) {
    let (_, said) = faults.fails_from("copy-closure", |running| {
        running.qmp().break_disk("os", Fails::Writes).unwrap();
    });
    let os = of_role(&faults.story, "os");
    assert_eq!(said.step.as_deref(), Some("copy-closure"), "{said:?}");
    assert_eq!(said.device, Some(format!("os ({})", os.by_id())), "{said:?}");
    assert_eq!(said.state, Some(DeviceState::Partial), "{said:?}");
    assert!(said.causes.iter().any(|cause| cause.contains("the kernel says")), "{said:?}");
    assert!(said.next.contains("cable") && said.next.contains("wipe = \"ours\""), "{said:?}");
}

/// F2 and F8: a disk that cannot be read and one too small for the system are known before
/// anything is written.
fn what_is_known_before_is_refused(faults: &Faults) {
    faults.story.make_disks().unwrap();
    let mut os = of_role(&faults.story, "os");
    let expected = format!("expect_size = \"{}B\"", os.size);
    os.size = 4 << 30;
    std::fs::remove_file(&os.file).unwrap();
    disk_image::create(&os).unwrap();
    let small = faults
        .host
        .replacen(&expected, &format!("expect_size = \"{}B\"", os.size), 1)
        .replacen("esp_size = \"1GiB\"", "esp_size = \"2GiB\"", 1);
    assert!(small.contains("2GiB") && !small.contains("12884901888"), "{small}");
    let running = faults.start(&small);
    running.qmp().break_disk("vm3", Fails::Reads).unwrap();
    running.wait_for_text(&["two generations, and room to work"], LIMIT).unwrap();
    running.wait_for_text(&["unreadable on the whole disk"], LIMIT).unwrap();
    stays_up(&running);
    for Disk { role, .. } in faults.story.disks() {
        let counters = running.qmp().counters(&role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
    }
}

/// One after the other in one test: each fills the machine.
#[test]
fn f2_f3_f8_t09_a_disk_that_fails_is_named_with_its_state_and_nothing_reboots() {
    let directory = tempfile::Builder::new().prefix("bedplate-faults-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let tell = Arc::new(|line: &str| println!("{line}"));
    let story = Story::begin(directory.path(), Sizes::Small, false, tell).unwrap();
    let medium = story.medium(true).unwrap();
    // No installation gets as far as its VM.
    let guest = GuestDisk { file: "/nowhere".into(), sha256: "0".repeat(64) };
    let host = story.host_toml(&guest).unwrap();
    let faults = Faults { story, medium, host };
    a_disk_vanishes(&faults);
    what_is_known_before_is_refused(&faults);
    a_disk_refuses_writes(&faults);
}
