//! A machine with QEMU's guest agent is backed up while it writes: its file system is frozen for
//! as long as the snapshot takes, by the real agent and libvirt. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::time::Duration;

use bedplate_qemu_harness::guest_disk::{GuestDisk, VOLUME_START};
use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::answers::{GUEST, back_up, backup, parse, small_guest};
use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::story::Story;
use toml_edit::Item;

/// The machine with the agent.
const MACHINE: &str = "talkative";
/// Where its image is offered.
const IMAGE: &str = "/talkative.qcow2.xz";
/// The backup of the machines' disks.
const BACKUP: &str = "machines";
/// Where the host is told of both.
const DOCUMENT: &str = "/root/agent.toml";
/// A guest boots inside an emulated machine that is emulated itself.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long an agent that was started may take until it answers.
const ANSWERED: Duration = Duration::from_secs(120);
/// In ext4's superblock, 1024 bytes into the volume: `s_feature_incompat`
/// (Documentation/filesystems/ext4/super.rst of Linux).
const INCOMPATIBLE: u64 = 1024 + 0x60;
/// There: the journal is to be replayed, as that of every ext4 that is mounted and not frozen.
const RECOVER: u32 = 0x4;

fn with_machine(story: &Story, image: &GuestDisk) -> String {
    let mut document = story.document().unwrap();
    let machine = small_guest(MACHINE, story.server.port(), IMAGE, &image.sha256);
    document["vms"][MACHINE] = Item::Table(machine);
    let disks = backup("/mnt/bulk/restic", &["/mnt/vmstore"]);
    back_up(&mut document, BACKUP, disks);
    parse(&document.to_string()).unwrap();
    document.to_string()
}

/// Whether the journal of the file system in this disk is to be replayed.
fn wants_recovery(host: &Host, disk: &str) -> bool {
    let line = format!(
        "set -e; qemu-img convert --force-share -O raw {disk} /run/disk.raw; \
         od -A n -t u4 -j {} -N 4 /run/disk.raw; rm /run/disk.raw",
        VOLUME_START + INCOMPATIBLE
    );
    let features: u32 = host.shell(&line).unwrap().trim().parse().unwrap();
    assert_ne!(features, 0, "{disk} holds no ext4");
    features & RECOVER != 0
}

/// Waits until the agent, which was started, is heard.
fn answers(host: &Host) {
    let ping = format!(
        "timeout {} sh -c 'until virsh qemu-agent-command {MACHINE} {{\\\"execute\\\":\\\"guest-ping\\\"}}; do sleep 1; done' 2>&1",
        Pace::known().seconds(ANSWERED)
    );
    println!("{}", host.shell(&ping).unwrap());
}

fn asked(story: &Story, path: &str) -> usize {
    story.server.requests().iter().filter(|request| request.target == path).count()
}

#[test]
fn the_agent_of_a_machine_freezes_it_while_its_disk_is_in_a_snapshot() {
    let (_directory, _, story) = installed::lent("guest-agent").unwrap();
    let image = story.guest_with_agent().unwrap();
    story.server.offer(IMAGE, image.file.clone());
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    host.write(DOCUMENT, &with_machine(&story, &image)).unwrap();
    // Its agent is not there yet when the first backup is made: it is paused, and goes on.
    host.bedplate(DOCUMENT, &["converge"]).unwrap();
    // Emulated within emulation, two would take turns.
    host.run(&["virsh", "--quiet", "destroy", GUEST]).unwrap();
    story.server.wait_for("/guest/agent", LIMIT).unwrap();
    answers(&host);
    assert_eq!((asked(&story, "/guest/freeze"), asked(&story, "/guest/thaw")), (0, 0));

    host.bedplate(DOCUMENT, &["backup", "run", BACKUP]).unwrap();
    story.server.wait_for("/guest/freeze", LIMIT).unwrap();
    story.server.wait_for("/guest/thaw", LIMIT).unwrap();
    assert_eq!((asked(&story, "/guest/freeze"), asked(&story, "/guest/thaw")), (1, 1));
    let snapshots =
        format!("/mnt/vmstore/.bedplate-snapshots/{BACKUP}/*/{MACHINE}/{MACHINE}.qcow2");
    let snapshot = host.shell(&format!("echo {snapshots}")).unwrap();
    assert!(!wants_recovery(&host, snapshot.trim()), "it was not frozen");
    let live = format!("/mnt/vmstore/{MACHINE}/{MACHINE}.qcow2");
    assert!(wants_recovery(&host, &live), "it was not mounted");
    assert_eq!(host.shell(&format!("virsh domstate {MACHINE}")).unwrap().trim(), "running");
    assert_eq!(host.shell("ls -A /run/bedplate/held").unwrap(), "");
    // It knows no power button either.
    host.read(&["virsh", "--quiet", "destroy", MACHINE]).unwrap();
    host.power_off().unwrap();
}
