//! Machines of every shape on an installed hypervisor: defined, started, and heard on their serial
//! lines; those that can boot do, in `--full`. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::time::{Duration, Instant};

use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::answers::GUEST;
use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::shapes::{self, INSTALLER, RAW, SECURE, STAND_IN};
use bedplate_tests::story::Story;
use toml_edit::DocumentMut;

/// Where the machine is told of them.
const DOCUMENT: &str = "/root/guests.toml";
/// A guest boots inside an emulated machine that is emulated itself.
const LIMIT: Duration = Duration::from_secs(15 * 60);

fn converge(host: &Host, document: &str) {
    host.write(DOCUMENT, document).unwrap();
    let answer = host.run(&["bedplate-host", "--host-file", DOCUMENT, "converge"]).unwrap();
    println!("{}{}", answer.stdout, answer.stderr);
    assert_eq!(answer.status, 0, "not everything could be made as intended");
}

/// Starts a machine and waits until `said` stands on its serial line.
fn start_and_hear(host: &Host, name: &str, said: &str) {
    println!("starting {name}, waiting for {said}");
    let line = "set -e; virsh --quiet start \"$1\"; \
                exec timeout \"$3\" grep --text -m 1 -e \"$2\" \"$(virsh ttyconsole \"$1\" | tr -d '\\n')\"";
    let patience = Pace::known().seconds(LIMIT);
    let heard = host.run(&["sh", "-c", line, "sh", name, said, &patience]).unwrap();
    if heard.status != 0 {
        let logs = [
            "sh",
            "-c",
            "tail -n 20 /var/log/swtpm/libvirt/qemu/*.log /var/log/libvirt/qemu/$0.log",
            name,
        ];
        println!("{}", host.run(&logs).unwrap().stdout);
    }
    // 124 is what `timeout` ends with.
    assert_ne!(heard.status, 124, "timed out after {patience} s, waiting for `{said}` of {name}");
    assert_eq!(heard.status, 0, "{name} never said `{said}`: {}", heard.stderr);
    println!("{name}: {}", heard.stdout.trim());
}

/// Waits until a guest with the MAC address of `name` has reported.
fn wait_for_report(story: &Story, host: &Host, name: &str) {
    let interfaces = host.read(&["virsh", "--quiet", "domiflist", name]).unwrap();
    let mac = interfaces.split_whitespace().last().unwrap().to_owned();
    let begun = Instant::now();
    let reported = |target: &str| target.starts_with("/guest/up") && target.contains(&mac);
    host.wait_for_guest(story, name, reported).unwrap();
    println!("{name}: reported after {} s", begun.elapsed().as_secs());
}

fn destroy(host: &Host, name: &str) {
    host.read(&["virsh", "--quiet", "destroy", name]).unwrap();
}

fn format_of(host: &Host, name: &str) -> String {
    let disk = format!("/mnt/vmstore/{name}/{name}.qcow2");
    let told = host.read(&["qemu-img", "info", "-f", "qcow2", "-U", "--output=json", &disk]);
    told.unwrap()
}

/// The machines of every shape, defined on the installed hypervisor, with its own guest out of the way:
/// that one has its own story, and would take half of the processors.
fn define(story: &Story) -> (Host, DocumentMut) {
    let document = shapes::with_machines(story).unwrap();
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    host.run(&["virsh", "destroy", GUEST]).unwrap();
    converge(&host, &document.to_string());
    (host, document)
}

#[test]
fn machines_of_every_shape_are_defined_and_their_firmware_speaks() {
    let (_directory, _, story) = installed::lent("guests").unwrap();
    let (host, mut document) = define(&story);
    let again = host.run(&["bedplate-host", "--host-file", DOCUMENT, "plan"]).unwrap();
    assert_eq!(again.status, 0, "a second converge would do something:\n{}", again.stdout);
    // What was declared is more than the image held.
    assert!(format_of(&host, STAND_IN).contains(&format!("\"virtual-size\": {}", 32_u64 << 30)));

    let firmware = [
        // Microsoft's keys know nothing of the small guest's boot loader.
        (SECURE, "Access Denied"),
        (RAW, "SYSLINUX"),
        (STAND_IN, "BdsDxe: starting"),
        (INSTALLER, "DVD-ROM"),
    ];
    for (name, said) in firmware {
        start_and_hear(&host, name, said);
        destroy(&host, name);
    }
    assert!(host.read(&["sh", "-c", "ls /var/lib/libvirt/swtpm/*/tpm2"]).is_ok());

    // Exactly its own directory goes, with the firmware's variables.
    document["vms"][SECURE]["state"] = toml_edit::value("absent");
    converge(&host, &document.to_string());
    let left = host.read(&["ls", "/mnt/vmstore"]).unwrap();
    assert!(!left.contains(SECURE) && left.contains(RAW) && left.contains(GUEST), "{left}");
    let variables = host.read(&["ls", "/var/lib/libvirt/qemu/nvram"]).unwrap();
    assert!(!variables.contains(SECURE) && variables.contains(STAND_IN), "{variables}");
    host.power_off().unwrap();
}

#[test]
#[ignore = "three guests boot inside an emulated machine: `cargo xtask test --full`"]
fn machines_that_can_boot_do() {
    let (_directory, _, story) = installed::lent("guests").unwrap();
    let (host, _) = define(&story);
    for name in [RAW, STAND_IN, INSTALLER] {
        host.read(&["virsh", "--quiet", "start", name]).unwrap();
        wait_for_report(&story, &host, name);
        destroy(&host, name);
    }
    host.power_off().unwrap();
}
