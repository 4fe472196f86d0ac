//! An installed machine whose system is installed anew beside pools that are kept, with a mirror
//! of its ESP, and whose medium is left in it. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Format};
use bedplate_qemu_harness::running::Running;
use bedplate_tests::installed::Installation;
use bedplate_tests::medium::put_answers;
use bedplate_tests::seed::{self, INSTALLED, STICK};
use bedplate_tests::story::{Story, Tell};
use toml_edit::{DocumentMut, Table, value};

const LIMIT: Duration = Duration::from_secs(900);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(8);
const MIRROR: &str = "mirror";

struct Machine {
    story: Story,
    medium: PathBuf,
    mirror: Disk,
}

impl Machine {
    fn lend(installation: &Installation, tell: Tell, directory: &std::path::Path) -> Self {
        let story = installation.lend(directory, tell).unwrap();
        let medium = story.path("bedplate.iso");
        std::fs::copy(installation.medium(), &medium).unwrap();
        let mirror = Disk {
            role: MIRROR.into(),
            kind: DiskKind::Nvme,
            serial: "BPMIRROR0001".into(),
            size: 2 << 30,
            file: story.path("mirror.qcow2"),
            format: Format::Qcow2,
            read_only: false,
            boot_index: Some(2),
        };
        disk_image::create(&mirror).unwrap();
        Self { story, medium, mirror }
    }

    /// The document the machine was installed from without its VM, which takes time to start.
    fn document(&self) -> DocumentMut {
        let text = std::fs::read_to_string(self.story.path("host.toml")).unwrap();
        let mut document: DocumentMut = text.parse().unwrap();
        document.remove("vms");
        document
    }

    fn disks(&self) -> Vec<Disk> {
        let mut disks = self.story.disks();
        disks.push(self.mirror.clone());
        disks
    }

    fn start_medium(&self, mut disks: Vec<Disk>) -> Running {
        let size = self.medium.metadata().unwrap().len();
        disks.push(seed::medium(&self.medium, size));
        self.story.start(disks).unwrap()
    }
}

fn set_wipe(document: &mut DocumentMut, wipe: impl Fn(&str) -> &'static str) {
    for (role, _) in INSTALLED {
        document["disks"][role]["wipe"] = value(wipe(role));
    }
}

fn stays_up_unwritten(running: &Running, disks: &[Disk]) {
    let end = running.wait_for_text(&["reboot: Restarting", "reboot: Power down"], LATE);
    assert!(end.is_err() && !running.has_ended(), "the machine went down:\n{}", running.tail());
    unwritten(running, disks);
}

fn unwritten<'d>(running: &Running, disks: impl IntoIterator<Item = &'d Disk>) {
    for Disk { role, .. } in disks {
        let counters = running.qmp().counters(role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
    }
}

/// T07: a pool that is sealed gets no new member from an installation, whatever `ours` allows.
fn a_member_of_a_sealed_pool_is_refused(machine: &Machine) -> Running {
    let blank = machine.story.fresh_disk("vm2", "BPVM2NEW").unwrap();
    let mut disks = machine.story.disks_without(&["vm2"]);
    disks.push(blank.clone());
    let mut document = machine.document();
    set_wipe(&mut document, |_| "ours");
    document["disks"]["vm2"]["id"] = value(blank.by_id());
    document["disks"]["vm2"]["expect_serial"] = value(blank.serial.as_str());
    put_answers(&machine.medium, &document.to_string()).unwrap();
    let running = machine.start_medium(disks.clone());
    running.wait_for_text(&["the finished pool `vmstore` lacks this member"], LIMIT).unwrap();
    running.wait_for_text(&["Nothing further will be written"], LIMIT).unwrap();
    stays_up_unwritten(&running, &disks);
    running
}

/// Puts a file on the pool `bulk` from the medium's shell; returns its SHA-256.
fn put_data(running: &mut Running) -> String {
    running.wait_for_text(&["root@"], LIMIT).unwrap();
    let each = |line: &str| format!("for n in 1 2 3; do {line}; done");
    for line in [
        "mkdir -p /run/key /run/pool; modprobe btrfs".to_owned(),
        format!("mount -o ro /dev/disk/by-uuid/{STICK} /run/key"),
        each(
            "cryptsetup open --key-slot 0 --key-file /run/key/bedplate/keyfile \
             /dev/disk/by-partlabel/bedplate-bulk$n bulk$n",
        ),
        "btrfs device scan; mount /dev/mapper/bulk1 /run/pool".to_owned(),
        "head -c 8000000 /dev/urandom > /run/pool/photos".to_owned(),
        "sha256sum /run/pool/photos | sed s/^/sum-is-/".to_owned(),
        "umount /run/pool /run/key".to_owned(),
        each("cryptsetup close bulk$n"),
        "sync; echo all-''closed".to_owned(),
    ] {
        running.type_line(&line).unwrap();
    }
    running.wait_for_text(&["all-closed"], LIMIT).unwrap();
    let console = running.console();
    let sums = console.split("sum-is-").filter_map(|rest| rest.get(..64));
    let sum = sums.last().unwrap();
    assert!(sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{sum}");
    sum.to_owned()
}

/// `wipe = "never"`: the system is new, the pools are opened and not written to.
fn the_system_is_installed_beside_its_pools(machine: &Machine) {
    let mut document = machine.document();
    set_wipe(&mut document, |role| if role == "os" { "any" } else { "never" });
    let mut mirror = Table::new();
    mirror["id"] = value(machine.mirror.by_id());
    document["disks"][MIRROR] = toml_edit::Item::Table(mirror);
    document["os"]["esp_mirror"] = value(MIRROR);
    put_answers(&machine.medium, &document.to_string()).unwrap();
    let running = machine.start_medium(machine.disks());
    let stopped = running.wait_for_text(&["Nothing further will be written"], LIMIT);
    assert!(stopped.is_err(), "the installation stopped:\n{}", running.tail());
    let end = running.wait_for_end(LIMIT).unwrap();
    assert_eq!(end.as_deref(), Some("guest-shutdown"), "{}", running.tail());
    let kept = machine.story.disks();
    let written = ["os", seed::KEY];
    unwritten(&running, kept.iter().filter(|disk| !written.contains(&disk.role.as_str())));
}

/// Left in the machine, the medium goes on to the installed disk.
fn the_medium_goes_on(machine: &Machine) {
    let running = machine.start_medium(machine.disks());
    let end = running.wait_for_end(LIMIT).unwrap();
    assert_eq!(end.as_deref(), Some("guest-reset"), "{}", running.tail());
    assert!(running.console().contains("nothing is written"), "{}", running.tail());
    unwritten(&running, &machine.disks());
}

/// The medium is the first to be booted, and what boots is the disk; the mirror is gone.
fn the_new_system_has_the_old_data(machine: &Machine, sum: &str) {
    let size = machine.medium.metadata().unwrap().len();
    let mut disks = machine.story.disks();
    disks.push(seed::medium(&machine.medium, size));
    let host = machine.story.boot(disks).unwrap();
    host.settle().unwrap();
    let found = host.read(&["sha256sum", "/mnt/bulk/photos"]).unwrap();
    assert_eq!(found.split(' ').next(), Some(sum));
    let switch = "/run/current-system/bin/switch-to-configuration";
    let answer = host.run(&[switch, "boot"]).unwrap();
    assert_ne!(answer.status, 0, "a lost mirror went unnoticed");
    assert!(answer.stderr.contains("mirror of the EFI system partition"), "{}", answer.stderr);
    host.power_off().unwrap();
}

/// The second time within an hour it stops.
fn the_medium_stops(machine: &Machine) {
    let running = machine.start_medium(machine.disks());
    running.wait_for_text(&["a second time within an hour"], LIMIT).unwrap();
    stays_up_unwritten(&running, &machine.disks());
}

/// Without anything on its ESP the OS disk is started from the mirror.
fn the_machine_boots_from_the_mirror(machine: &Machine) {
    let disks = machine.disks();
    let os = disks.iter().find(|disk| disk.role == "os").unwrap();
    let mut wipe = Command::new("qemu-io");
    wipe.args(["-f", "qcow2", "-c", "write -q -z 1M 1G"]).arg(&os.file);
    assert!(wipe.status().unwrap().success());
    let host = machine.story.boot(disks).unwrap();
    let mounted = host.read(&["findmnt", "-n", "-o", "TARGET", "-t", "vfat"]).unwrap();
    assert_eq!(mounted.trim(), "/boot-mirror");
    host.power_off().unwrap();
}

/// One after the other in one test: each fills the machine.
#[test]
fn t07_f9_a_system_is_installed_anew_beside_kept_pools_and_its_medium_never_loops() {
    let directory = tempfile::Builder::new().prefix("bedplate-reinstall-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let installation = Installation::obtain(&tell).unwrap();
    let machine = Machine::lend(&installation, tell, directory.path());
    let mut refused = a_member_of_a_sealed_pool_is_refused(&machine);
    let sum = put_data(&mut refused);
    refused.cut_power().unwrap();
    the_system_is_installed_beside_its_pools(&machine);
    the_medium_goes_on(&machine);
    the_new_system_has_the_old_data(&machine, &sum);
    the_medium_stops(&machine);
    the_machine_boots_from_the_mirror(&machine);
}
