//! A machine is lost with all its disks: new disks, the same medium, and everything is back from a
//! backup on another machine. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::Path;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::machine::HOST_ADDRESS;
use bedplate_qemu_harness::pace;
use bedplate_tests::answers::{self, GUEST};
use bedplate_tests::installed;
use bedplate_tests::medium::put_answers;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::{self, HOST};
use bedplate_tests::story::Story;
use bedplate_tests::vault::Vault;
use toml_edit::{Array, DocumentMut, Item, Table, value};

const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
const GUEST_LIMIT: Duration = Duration::from_secs(8 * 60);
/// The backup that outlives the machine.
const BACKUP: &str = "everything";
/// Where the first machine is told of it.
const DOCUMENT: &str = "/root/recovery.toml";
/// How far the restore is, on the pool of the backup's first path.
const RECORD: &str = "/mnt/vmstore/.bedplate-restore/everything.json";
/// The VM says this when it is up.
const UP: &str = "/guest/up";

/// The story's `host.toml` with one backup, of the machines and of what they keep over NFS.
fn with_backup(story: &Story, vault: &Vault) -> DocumentMut {
    let mut document = story.document().unwrap();
    let repository = format!("rest:http://{HOST_ADDRESS}:{}/", vault.port);
    let backup = answers::backup(&repository, &["/mnt/vmstore", "/mnt/bulk/apps-vm"]);
    answers::back_up(&mut document, BACKUP, backup);
    answers::parse(&document.to_string()).unwrap();
    document
}

/// As [`with_backup`], for the machine that gets everything back. Nothing serves the image of the VM,
/// which is not started before its disk was looked at.
fn with_restore(first: &DocumentMut) -> DocumentMut {
    let mut document = first.clone();
    let mut restore = Table::new();
    restore["backups"] = value(Array::from_iter([BACKUP]));
    document["restore"] = Item::Table(restore);
    document["vms"][GUEST]["autostart"] = value(false);
    document["vms"][GUEST]["disk_image"]["url"] = value(format!("http://{HOST_ADDRESS}:9/gone"));
    answers::parse(&document.to_string()).unwrap();
    document
}

fn backup(host: &Host, arguments: &[&str]) -> String {
    let command = ["bedplate-host", "--host-file", DOCUMENT, "backup"];
    host.read(&[&command, arguments].concat()).unwrap()
}

/// Hashes of everything below two directories, but what is bedplate's own.
fn hashes(host: &Host, vmstore: &str, apps: &str) -> String {
    let list =
        "find . -name '.bedplate-*' -prune -o -type f -print0 | sort -z | xargs -0 sha256sum";
    host.shell(&format!("set -e; cd {vmstore}; {list}; cd {apps}; {list}")).unwrap()
}

/// The first machine: data is written, all of it is backed up while the VM runs, and the backup is
/// proven by a drill. Returns the hashes of what was backed up.
fn backed_up(story: &Story, document: &DocumentMut) -> String {
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    story.server.wait_for(UP, GUEST_LIMIT).unwrap();
    host.write(DOCUMENT, &document.to_string()).unwrap();
    host.shell("mkdir -p /mnt/bulk/apps-vm/photos /mnt/vmstore/loose").unwrap();
    for file in ["/mnt/bulk/apps-vm/photos/one", "/mnt/vmstore/loose/two"] {
        host.read(&["dd", "if=/dev/urandom", &format!("of={file}"), "bs=1M", "count=8"]).unwrap();
    }
    backup(&host, &["run", BACKUP]);
    // It has no agent, so it was paused for the snapshot.
    assert_eq!(host.read(&["virsh", "domstate", GUEST]).unwrap().trim(), "running");
    assert!(host.shell("ls /run/bedplate/held").unwrap().trim().is_empty());
    let drilled = backup(&host, &["drill", BACKUP]);
    assert!(drilled.contains("all equal"), "{drilled}");
    assert!(!host.shell("ls -a /mnt/vmstore").unwrap().contains(".bedplate-drill"));
    backup(&host, &["check", "--read-data", BACKUP]);
    assert_eq!(backup(&host, &["list", BACKUP]).lines().count(), 1);
    // What was backed up stands still in the snapshots; the machine itself goes on.
    let snapshot = |mount: &str| format!("{mount}/.bedplate-snapshots/{BACKUP}/*");
    let kept =
        hashes(&host, &snapshot("/mnt/vmstore"), &format!("{}/apps-vm", snapshot("/mnt/bulk")));
    host.power_off().unwrap();
    kept
}

/// New disks in the places of the old, and new firmware; the key sticks stay.
fn lose_every_disk(story: &Story) {
    for disk in seed::installed_disks(&story.directory, story.sizes) {
        std::fs::remove_file(&disk.file).unwrap();
        disk_image::create(&disk).unwrap();
    }
    std::fs::remove_file(story.path(&format!("{HOST}.vars.fd"))).unwrap();
}

fn install(story: &Story, medium: &Path) {
    let running = story.start_medium(medium).unwrap();
    let stopped = ["Nothing further will be written", "Kernel panic"];
    let found = running.wait_for_text(&stopped, INSTALL_LIMIT);
    assert!(found.is_err(), "the installation stopped:\n{}", running.tail());
    let end = running.wait_for_end(Duration::from_secs(60)).unwrap();
    assert_eq!(end.as_deref(), Some("guest-shutdown"), "{}", running.tail());
}

/// The power goes while files come from the repository, and again when the record says that all is
/// back: what the machine had not written down for good is gone with its memory.
fn is_back_after_cuts(story: &Story, kept: &str) {
    for stages in [&["fetching", "moving", "done"][..], &["done"]] {
        let host = story.boot(story.disks()).unwrap();
        let is_at = |record: &str| stages.iter().any(|stage| record.contains(stage));
        let record = || host.run(&["cat", RECORD]).ok().filter(|record| is_at(&record.stdout));
        pace::ask(GUEST_LIMIT, Duration::ZERO, record)
            .unwrap_or_else(|spent| panic!("{spent}, the restore never came to {stages:?}"));
        println!("the power goes: {}", host.read(&["cat", RECORD]).unwrap());
        drop(host);
    }
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    assert_eq!(hashes(&host, "/mnt/vmstore", "/mnt/bulk/apps-vm"), kept);
    let domains = host.read(&["virsh", "--quiet", "list", "--all", "--name"]).unwrap();
    assert_eq!(domains.trim(), GUEST);
    host.power_off().unwrap();
}

/// The new machine: everything is back before the VM is defined, which then boots from its old disk.
fn is_back(story: &Story, kept: &str) {
    let host = story.boot(story.disks()).unwrap();
    let state = host.settle().unwrap();
    let journal = host.read(&["journalctl", "-u", "bedplate-converge", "-o", "cat"]).unwrap();
    assert_eq!(state, "running", "{journal}");
    let moved = journal.find("restore-everything-2: done").expect(&journal);
    let defined = journal.find(&format!("vm-{GUEST}-1: done")).expect(&journal);
    assert!(moved < defined, "the VM was defined before its disk was back:\n{journal}");
    assert_eq!(hashes(&host, "/mnt/vmstore", "/mnt/bulk/apps-vm"), kept);
    assert!(!host.shell("ls /mnt/vmstore/.bedplate-restore").unwrap().contains("mnt"));

    let before = story.server.requests().len();
    host.read(&["virsh", "start", GUEST]).unwrap();
    host.wait_for_guest_after(story, GUEST, before, |target| target.starts_with(UP)).unwrap();
    // Done once: what has changed since stays.
    host.shell("echo newer > /mnt/bulk/apps-vm/photos/one").unwrap();
    host.read(&["bedplate-host", "converge"]).unwrap();
    assert_eq!(host.shell("cat /mnt/bulk/apps-vm/photos/one").unwrap(), "newer\n");
    host.power_off().unwrap();
}

#[test]
fn f10_a_machine_that_was_lost_comes_back_with_its_data_and_its_vm() {
    let (_directory, installation, story) = installed::lent("recovery").unwrap();
    let vault = Vault::start(&story.path("vault"), None).unwrap();
    let first = with_backup(&story, &vault);
    let kept = backed_up(&story, &first);
    assert!(kept.lines().count() >= 3, "{kept}");

    lose_every_disk(&story);
    let medium = story.path("bedplate.iso");
    std::fs::copy(installation.medium(), &medium).unwrap();
    put_answers(&medium, &with_restore(&first).to_string()).unwrap();
    install(&story, &medium);
    let cut = story.fork(&story.path("cut")).unwrap();
    is_back_after_cuts(&cut, &kept);
    is_back(&story, &kept);
}
