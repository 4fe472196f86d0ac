//! T42: a copy of a machine to try things on, from the newest snapshot and on a bridge that leads
//! nowhere, beside its original, by the real libvirt and on the real pool. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::time::Duration;

use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::answers::{self, GUEST};
use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::story::Story;
use toml_edit::{Item, Table};

/// The copy.
const COPY: &str = "lab-guest";
/// Its disk, and the directory of its lab.
const COPIED_DISK: &str = "/mnt/vmstore/.bedplate-lab/guest/disk.qcow2";
const LAB: &str = "/mnt/vmstore/.bedplate-lab";
/// The disk of the original.
const DISK: &str = "/mnt/vmstore/guest/guest.qcow2";
/// The bridge that leads nowhere.
const BRIDGE: &str = "br-test";
/// The backup whose snapshots are copied, on the other pool.
const BACKUP: &str = "machines";
/// Where the machine is told of both.
const DOCUMENT: &str = "/root/lab.toml";
/// A guest boots inside an emulated machine that is emulated itself.
const LIMIT: Duration = Duration::from_secs(15 * 60);

fn with_lab(story: &Story) -> String {
    let mut document = story.document().unwrap();
    document["network"]["bridges"][BRIDGE] = Item::Table(Table::new());
    let backup = answers::backup("/mnt/bulk/restic", &["/mnt/vmstore"]);
    answers::back_up(&mut document, BACKUP, backup);
    answers::parse(&document.to_string()).unwrap();
    document.to_string()
}

/// What a line of a shell says, without the end of its last line.
fn told(host: &Host, line: &str) -> String {
    host.shell(line).unwrap().trim().to_owned()
}

fn digest(host: &Host, file: &str) -> String {
    let line = told(host, &format!("sha256sum {file}"));
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The value of one attribute in a domain's definition.
fn of_definition(host: &Host, domain: &str, pattern: &str) -> String {
    told(host, &format!("virsh dumpxml --inactive {domain} | grep -o -m 1 {pattern}"))
}

/// Alone on its bridge, with another identity, and started by nobody but a person.
fn is_a_copy(host: &Host) {
    for pattern in ["'<uuid>.*</uuid>'", "\"mac address='[^']*'\""] {
        let (own, theirs) =
            (of_definition(host, COPY, pattern), of_definition(host, GUEST, pattern));
        assert!(!own.is_empty() && own != theirs, "{own}");
    }
    let interfaces = told(host, &format!("virsh --quiet domiflist {COPY}"));
    assert!(interfaces.lines().count() == 1 && interfaces.contains(BRIDGE), "{interfaces}");
    let automatic = told(host, "virsh --quiet list --all --autostart --name");
    assert_eq!(automatic, GUEST);
    assert!(told(host, &format!("ls /sys/class/net/{BRIDGE}/brif")).is_empty());
}

/// It boots from its own disk, asks for an address and is given none; the original's disk is
/// not written to, and the host reports nothing amiss.
fn reaches_nobody(host: &Host, story: &Story) {
    let (original, copied) = (digest(host, DISK), digest(host, COPIED_DISK));
    let reported = story.server.requests().len();
    host.read(&["virsh", "--quiet", "start", COPY]).unwrap();
    let heard = format!(
        "timeout {} grep --text -m 1 -e 'no lease yet' \"$(virsh ttyconsole {COPY} | tr -d '\\n')\"",
        Pace::known().seconds(LIMIT)
    );
    assert!(told(host, &heard).contains("guest: no lease yet"));
    assert_eq!(story.server.requests().len(), reported, "somebody was told something");
    host.bedplate(DOCUMENT, &["status"]).unwrap();
    told(host, &format!("printf changed | dd of={COPIED_DISK} conv=notrunc status=none"));
    assert_ne!(digest(host, COPIED_DISK), copied);
    assert_eq!(digest(host, DISK), original);
}

#[test]
fn t42_a_copy_is_tried_on_a_bridge_that_leads_nowhere_and_its_original_is_not_touched() {
    let (_directory, _, story) = installed::lent("lab").unwrap();
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    // Emulated within emulation, two would take turns.
    host.run(&["virsh", "--quiet", "destroy", GUEST]).unwrap();
    host.write(DOCUMENT, &with_lab(&story)).unwrap();
    host.bedplate(DOCUMENT, &["converge"]).unwrap();
    host.run(&["virsh", "--quiet", "destroy", GUEST]).unwrap();
    host.bedplate(DOCUMENT, &["backup", "run", BACKUP]).unwrap();
    let definition = told(&host, &format!("virsh dumpxml --inactive {GUEST}"));
    let snapshot =
        digest(&host, &format!("/mnt/vmstore/.bedplate-snapshots/{BACKUP}/*/guest/guest.qcow2"));

    host.bedplate(DOCUMENT, &["lab", "clone", GUEST, "--bridge", BRIDGE]).unwrap();
    assert_eq!(digest(&host, COPIED_DISK), snapshot);
    is_a_copy(&host);
    reaches_nobody(&host, &story);

    // What was tried is gone, and the copy is as the newest snapshot again.
    host.bedplate(DOCUMENT, &["lab", "reset"]).unwrap();
    assert_eq!(digest(&host, COPIED_DISK), snapshot);
    assert_eq!(told(&host, "virsh --quiet list --name"), "");
    // No backup holds a copy.
    host.bedplate(DOCUMENT, &["backup", "run", BACKUP]).unwrap();
    let held = format!("find /mnt/vmstore/.bedplate-snapshots/{BACKUP} -path '*/.bedplate-lab/*'");
    assert_eq!(told(&host, &held), "");

    host.bedplate(DOCUMENT, &["lab", "destroy"]).unwrap();
    assert_eq!(told(&host, "virsh --quiet list --all --name"), GUEST);
    assert_eq!(told(&host, &format!("virsh dumpxml --inactive {GUEST}")), definition);
    assert_ne!(host.run(&["test", "-e", LAB]).unwrap().status, 0);
    host.power_off().unwrap();
}
