//! An installed machine whose system is installed anew beside a pool that is kept, with a mirror
//! of its ESP, and whose medium is left in it. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Format, Machine};
use bedplate_qemu_harness::running::Running;
use bedplate_tests::medium::put_answers;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::subject::Subject;
use bedplate_tests::seed::{self, CANARY, KEY};
use bedplate_tests::small::{self, COMPLETE};
use toml_edit::{DocumentMut, Item, Table, value};

const LIMIT: Duration = Duration::from_secs(600);
/// A reboot or power-off that comes late would show within this time.
const LATE: Duration = Duration::from_secs(5);
const MIRROR: &str = "mirror";
const MEMBERS: [&str; 3] = ["one", "two", "three"];

struct Reinstall<'d> {
    subject: Subject,
    directory: &'d Path,
    disks: Vec<Disk>,
}

impl Reinstall<'_> {
    fn document(&self) -> DocumentMut {
        small::host_toml(&small::disks(self.directory)).parse().unwrap()
    }

    fn answer(&self, document: &DocumentMut) {
        put_answers(&self.subject.medium.file, &document.to_string()).unwrap();
    }

    fn start(&self, machine: Machine) -> Running {
        let tell = |line: &str| println!("{line}");
        // The firmware's variables are the machine's, whoever starts it.
        let machine = Machine { name: "reinstall".to_owned(), ..machine };
        machine.start(self.directory, Some(Arc::new(tell))).unwrap()
    }

    fn install(&self, disks: Vec<Disk>) -> Running {
        self.start(self.subject.installing(disks))
    }

    /// Installs without systemd on the medium, which takes half the time, and only where it is not
    /// what is tested.
    fn install_quickly(&self, disks: Vec<Disk>) -> Running {
        let mut machine = self.subject.installing(disks);
        let kernel = machine.kernel.as_mut().unwrap();
        kernel.command_line.clone_from(&self.subject.medium.quick);
        self.start(machine)
    }

    fn with_mirror(&self) -> Vec<Disk> {
        let mut disks = self.disks.clone();
        disks.push(mirror(self.directory));
        disks
    }

    /// Starts the disks without the medium's kernel, and waits for the installed system to be whole.
    fn boots(&self, disks: Vec<Disk>) {
        let running = self.start(self.subject.installed(disks));
        running.wait_for_text(&[COMPLETE], LIMIT).unwrap();
        running.wait_for_end(LIMIT).unwrap();
    }
}

fn mirror(directory: &Path) -> Disk {
    Disk {
        role: MIRROR.into(),
        kind: DiskKind::Nvme,
        serial: "SMMIRROR0001".into(),
        size: 256 << 20,
        file: directory.join("mirror.img"),
        format: Format::Raw,
        read_only: false,
        boot_index: Some(2),
    }
}

fn goes_down(running: &Running, how: &str) {
    let stopped = running.wait_for_text(&["Nothing further will be written"], LIMIT);
    assert!(stopped.is_err(), "the installation stopped:\n{}", running.tail());
    assert_eq!(running.wait_for_end(LIMIT).unwrap().as_deref(), Some(how), "{}", running.tail());
}

fn stays_up(running: &Running) {
    running.stays_up(&["reboot: Restarting", "reboot: Power down"], LATE).unwrap();
}

fn unwritten<'d>(running: &Running, disks: impl IntoIterator<Item = &'d Disk>) {
    for Disk { role, .. } in disks {
        let counters = running.qmp().counters(role).unwrap();
        assert_eq!((counters.writes, counters.discards), (0, 0), "{role} was written to");
    }
}

/// T07: a sealed pool gets no new member from an installation, whatever `ours` allows.
fn a_member_of_a_sealed_pool_is_refused(machine: &Reinstall<'_>) -> Running {
    let mut fresh = mirror(machine.directory);
    fresh.role = "fresh".into();
    fresh.serial = "SMFRESH".into();
    fresh.size = 1 << 30;
    fresh.file = machine.directory.join("fresh.img");
    disk_image::create(&fresh).unwrap();
    let mut document = machine.document();
    document["disks"]["two"]["id"] = value(fresh.by_id());
    document["disks"]["two"]["expect_serial"] = value(fresh.serial.as_str());
    machine.answer(&document);
    let mut disks = machine.disks.clone();
    disks.push(fresh);
    let running = machine.install(disks.clone());
    running.wait_for_text(&["the finished pool `data` lacks this member"], LIMIT).unwrap();
    running.wait_for_text(&["Nothing further will be written"], LIMIT).unwrap();
    stays_up(&running);
    unwritten(&running, &disks);
    running
}

/// Lets the medium's shell open the pool, run `command` where it is mounted with `options`, and
/// close everything; returns the SHA-256 of the file it looks at. The volumes are opened as the
/// installer does, and udev leaves those alone but for their names under `/dev/mapper`.
fn in_pool(running: &mut Running, options: &str, command: &str) -> String {
    running.wait_for_text(&["root@"], LIMIT).unwrap();
    let names = MEMBERS.join(" ");
    for line in [
        "mkdir -p /run/key /run/pool; modprobe btrfs".to_owned(),
        "mount -o ro /dev/disk/by-uuid/5A11-0001 /run/key".to_owned(),
        format!(
            "for n in {names}; do DM_DISABLE_UDEV=1 cryptsetup open --key-slot 0 --key-file \
             /run/key/bedplate/keyfile /dev/disk/by-partlabel/bedplate-$n x$n; done"
        ),
        "udevadm settle; udevadm info --export-db | grep -c dm-name-x | sed s/^/named-/".to_owned(),
        format!("btrfs device scan; mount -o {options} /dev/mapper/xone /run/pool"),
        command.to_owned(),
        "sha256sum /run/pool/photos | sed s/^/sum-is-/".to_owned(),
        "umount /run/pool /run/key".to_owned(),
        format!("for n in {names}; do cryptsetup close x$n; done"),
        "sync; echo all-''closed".to_owned(),
    ] {
        running.type_line(&line).unwrap();
    }
    running.wait_for_text(&["all-closed"], LIMIT).unwrap();
    let console = running.console();
    assert!(console.contains("named-0"), "udev looked into a volume:\n{console}");
    let sums = console.split("sum-is-").filter_map(|rest| rest.get(..64));
    let sum = sums.filter(|sum| sum.bytes().all(|byte| byte.is_ascii_hexdigit())).last();
    sum.unwrap_or_else(|| panic!("no sum:\n{console}")).to_owned()
}

/// `wipe = "never"`: the system is new, the pool is opened and not written to.
fn the_system_is_installed_beside_its_pool(machine: &Reinstall<'_>) {
    let mut document = machine.document();
    document["disks"]["os"]["wipe"] = value("any");
    for role in MEMBERS {
        document["disks"][role]["wipe"] = value("never");
    }
    let mut second = Table::new();
    second["id"] = value(mirror(machine.directory).by_id());
    document["disks"][MIRROR] = Item::Table(second);
    document["os"]["esp_mirror"] = value(MIRROR);
    machine.answer(&document);
    let running = machine.install_quickly(machine.with_mirror());
    goes_down(&running, "guest-shutdown");
    let kept = machine.disks.iter().filter(|disk| disk.role != "os" && disk.role != KEY);
    unwritten(&running, kept);
}

/// Left in the machine, the medium goes on to the installed disk: once.
fn the_medium_goes_on(machine: &Reinstall<'_>) {
    let disks = machine.with_mirror();
    let running = machine.install(disks.clone());
    goes_down(&running, "guest-reset");
    assert!(running.console().contains("nothing is written"), "{}", running.tail());
    unwritten(&running, &disks);
    drop(running);
    // The firmware would start the medium first, and starts the disk; the mirror is gone.
    let mut disks = machine.disks.clone();
    disks.push(seed::medium(&machine.subject.medium.file, 0));
    machine.boots(disks);
}

/// The second time within an hour it stops.
fn the_medium_stops(machine: &Reinstall<'_>) -> Running {
    let disks = machine.with_mirror();
    let running = machine.install(disks.clone());
    running.wait_for_text(&["a second time within an hour"], LIMIT).unwrap();
    stays_up(&running);
    unwritten(&running, &disks);
    running
}

/// Without anything on its ESP the OS disk is started from the mirror.
fn the_machine_boots_from_the_mirror(machine: &Reinstall<'_>) {
    let os = machine.disks.iter().find(|disk| disk.role == "os").unwrap();
    let mut image = std::fs::OpenOptions::new().write(true).open(&os.file).unwrap();
    image.seek(SeekFrom::Start(1 << 20)).unwrap();
    // The whole partition; what follows it is the volume.
    image.write_all(&vec![0; 128 << 20]).unwrap();
    machine.boots(machine.with_mirror());
}

/// One after the other in one test: each fills the machine.
#[test]
fn t07_f9_a_system_is_installed_anew_beside_a_kept_pool_and_its_medium_never_loops() {
    let directory = tempfile::Builder::new().prefix("bedplate-reinstall-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let subject = Subject::small(directory.path()).unwrap();
    let disks = small::disks(directory.path());
    blank(&disks).unwrap();
    blank(&[mirror(directory.path())]).unwrap();
    let machine = Reinstall { subject, directory: directory.path(), disks };
    machine.answer(&machine.document());
    goes_down(&machine.install_quickly(machine.disks.clone()), "guest-shutdown");

    let mut refused = a_member_of_a_sealed_pool_is_refused(&machine);
    let write = "head -c 8000000 /dev/urandom > /run/pool/photos";
    let before = in_pool(&mut refused, "rw", write);
    refused.cut_power().unwrap();

    the_system_is_installed_beside_its_pool(&machine);
    the_medium_goes_on(&machine);
    let mut stopped = the_medium_stops(&machine);
    let after = in_pool(&mut stopped, "ro", "true");
    assert_eq!(before, after, "the data of the pool has changed");
    drop(stopped);
    the_machine_boots_from_the_mirror(&machine);
    let canary = machine.disks.iter().find(|disk| disk.role == CANARY).unwrap();
    let fresh = bedplate_qemu_harness::canary::create(&directory.path().join("canary")).unwrap();
    assert_eq!(disk_image::sha256_of(&canary.file).unwrap(), fresh, "the canary has changed");
}
