//! Two machines on one cable, both booted from the medium: the one is found by the other, with what
//! it is and where its ssh server answers, and no longer once it is off. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::machine::{Cable, CableEnd, Disk, DiskKind, Format, Machine};
use bedplate_qemu_harness::running::Running;
use bedplate_qemu_harness::ssh::{Key, Ssh};
use bedplate_tests::medium::Workspace;
use bedplate_tests::seed;
use bedplate_tools::command::CommandExt as _;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10 * 60);
const MEMORY_MIB: u32 = 1536;
const SIZE: u64 = 4 << 30;
const WAITING_MAC: &str = "52:54:00:ca:b1:01";
/// What they call themselves, by the lowest address of a NIC each has.
const WAITING: &str = "bedplate-cab101.local";
const LOOKING: &str = "bedplate-0bed01.local";
const LOOKING_MAC: &str = "52:54:00:ca:b1:02";

fn start(machine: &Machine, directory: &Path) -> Running {
    let name = machine.name.clone();
    let listener = Arc::new(move |line: &str| println!("{name}: {line}"));
    machine.start(directory, Some(listener)).unwrap()
}

/// What `bedplate discover` lists where `ssh` leads to.
fn discover(ssh: &Ssh) -> Vec<Value> {
    let answer = ssh.run(&["bedplate", "discover", "--json", "--seconds", "20"]).unwrap();
    assert_eq!(answer.status, 0, "{answer:?}");
    println!("{}", answer.stdout);
    serde_json::from_str(&answer.stdout).unwrap()
}

/// The name of the NIC with this address.
fn nic(ssh: &Ssh, mac: &str) -> String {
    let links = ssh.run(&["ip", "-brief", "link"]).unwrap().stdout;
    let line = links.lines().find(|line| line.contains(mac)).unwrap_or_else(|| panic!("{links}"));
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_waiting_machine_is_found_on_the_local_network() {
    let directory = tempfile::Builder::new().prefix("bedplate-discovery-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let at = |name: &str| directory.path().join(name);
    let medium = at("bedplate.iso");
    let workspace = Workspace::own();
    workspace.build_medium(&medium, &mut |stage| println!("medium: {stage}")).unwrap();
    let key = Key::in_directory(directory.path()).unwrap();
    let keys = at("ssh-key.pub");
    let mut personalize = Command::new(workspace.root.join("target/release/bedplate"));
    personalize.arg("personalize").arg(&medium).arg("--authorized-keys").arg(&keys).run().unwrap();
    let medium = seed::medium(&medium, medium.metadata().unwrap().len());
    let disk = Disk {
        role: "os".into(),
        kind: DiskKind::Nvme,
        serial: "DISCOVERED".into(),
        size: SIZE,
        file: at("os.qcow2"),
        format: Format::Qcow2,
        read_only: false,
        boot_index: None,
    };
    disk_image::create(&disk).unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let sockets = tempfile::Builder::new().prefix("bedplate-cable-").tempdir_in("/tmp").unwrap();
    let socket = sockets.path().join("cable");
    let machine = |name: &str, disks, end, mac: &str| Machine {
        cable: Some(Cable { socket: socket.clone(), end, mac: mac.to_owned() }),
        ..seed::machine(name, disks, MEMORY_MIB, port)
    };
    let waiting = Machine {
        networks: Vec::new(),
        ..machine("waiting", vec![disk, medium.clone()], CableEnd::First, WAITING_MAC)
    };
    let looking = machine("looking", vec![medium], CableEnd::Second, LOOKING_MAC);

    let waiting = start(&waiting, directory.path());
    waiting.wait_for_text(&["The host key of this boot is"], LIMIT).unwrap();
    let looking = start(&looking, directory.path());
    let ssh = Ssh::new(&key, port).unwrap();
    ssh.wait(LIMIT, &looking).unwrap();

    let found = discover(&ssh);
    let names: Vec<&str> = found.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, [LOOKING, WAITING]);
    let own = found[0]["addresses"].as_array().unwrap();
    assert!(own.iter().all(|address| address != "127.0.0.1"), "{own:?}");
    let one = &found[1];
    assert_eq!((&one["activity"], &one["port"]), (&"waiting".into(), &22.into()), "{one}");
    let memory = one["memory_bytes"].as_u64().unwrap();
    assert!((u64::from(MEMORY_MIB) << 20) * 3 / 4 < memory && memory <= 1536 << 20, "{one}");
    assert_eq!(one["disks"], serde_json::json!([{ "transport": "nvme", "size": SIZE }]));

    // The address and the port lead to the very machine: it shows the same key on its screen.
    let addresses = one["addresses"].as_array().unwrap();
    let address = addresses.first().unwrap().as_str().unwrap();
    assert!(address.ends_with(&format!("%{}", nic(&ssh, LOOKING_MAC))), "{one}");
    let scan = format!("ssh-keyscan -t ed25519 '{address}' | ssh-keygen -l -f -");
    let said = ssh.run(&["sh", "-c", &scan]).unwrap();
    let fingerprint = said.stdout.split_whitespace().find(|word| word.starts_with("SHA256:"));
    let fingerprint = fingerprint.unwrap_or_else(|| panic!("{said:?}"));
    assert!(waiting.console().contains(fingerprint), "{said:?}\n{}", waiting.tail());

    waiting.cut_power().unwrap();
    let names: Vec<Value> = discover(&ssh).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, [LOOKING]);
}
