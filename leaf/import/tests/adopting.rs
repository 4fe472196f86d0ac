//! Machines that run, as the `host.toml` that describes them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod common;

use bedplate_document as document;
use bedplate_import::adopt::{Disk, FileSystem, Machine, describe};
use bedplate_import::libvirt::Source;
use common::shown;

const ID: &str = "3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21";
const LINKS: &str = include_str!("fixtures/links.json");
const ROUTES: &str = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"br0","protocol":"static"}]"#;
const DOMAIN: &str = "<domain type='kvm'><name>web</name><memory unit='GiB'>1</memory><vcpu>1</vcpu>\
    <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
    <disk device='disk'><driver type='qcow2'/><source file='/srv/fast/web/web.qcow2'/><target dev='vda' bus='virtio'/></disk>\
    <interface type='bridge'><mac address='52:54:00:00:00:10'/><source bridge='br0'/><model type='virtio'/></interface>\
    </devices></domain>";

fn disk(kernel_name: &str, id: &str) -> Disk {
    Disk {
        kernel_name: kernel_name.into(),
        id: Some(id.into()).filter(|id: &String| !id.is_empty()),
        serial: Some("S1".into()),
        size: 500_107_862_016,
        ..Disk::default()
    }
}

fn file_system(kind: &str, disks: &[&str], mounts: &[(&str, &str)]) -> FileSystem {
    FileSystem {
        kind: kind.into(),
        disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        is_encrypted: true,
        data: vec!["raid1".into()],
        metadata: vec!["raid1".into()],
        mounts: mounts
            .iter()
            .map(|(root, point)| ((*root).to_owned(), (*point).to_owned()))
            .collect(),
    }
}

fn machine() -> Machine<'static> {
    Machine {
        name: Some("Attic.example.org".into()),
        timezone: Some("Europe/Brussels".into()),
        locale: Some("en_US.utf8".into()),
        is_uefi: true,
        disks: vec![
            disk("nvme0n1", "nvme-EXAMPLE_500GB_S0001"),
            Disk { rotates: true, is_sealed: true, ..disk("sda", "ata-EXAMPLE_A") },
            Disk { is_sealed: true, ..disk("sdb", "ata-EXAMPLE_B") },
        ],
        file_systems: vec![
            file_system("btrfs", &["nvme0n1"], &[("/@root", "/"), ("/@nix", "/nix")]),
            file_system("btrfs", &["sda", "sdb"], &[("/", "/srv/fast")]),
        ],
        sticks: vec!["1A2B-3C4D".into()],
        nics: vec!["enp5s0".into(), "enp6s0".into()],
        links: LINKS,
        routes: ROUTES,
        resolvers: "nameserver 127.0.0.53\nnameserver 192.0.2.1\n",
        exports: vec![(
            "/etc/exports".into(),
            "# All\n/srv/fast/media -ro,no_subtree_check 192.0.2.0/24 198.51.100.7\n".into(),
        )],
        domains: vec![Source { name: Some("web"), xml: DOMAIN, autostart: Some(true) }],
        ..Machine::default()
    }
}

#[test]
fn a_machine_is_described_and_check_takes_it() {
    let imported = describe(&machine(), ID);
    insta::assert_snapshot!(shown(&imported));
    let host =
        document::parse(&imported.text, "host.toml").unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(host.pools["fast"].disks.len(), 2);
    assert_eq!(host.vms["web"].pool, "fast");
    assert!(imported.notes.iter().all(|note| !note.message.contains("refuses it")));
}

#[test]
fn what_bedplate_makes_otherwise_or_nobody_can_see_is_told() {
    let mut other = machine();
    other.is_uefi = false;
    other.nixos = Some("25.11".into());
    other.sticks.clear();
    other.disks[0].id = None;
    other.file_systems[0] =
        FileSystem { is_encrypted: false, ..file_system("ext4", &["nvme0n1"], &[("/", "/")]) };
    other.file_systems[1].data = vec!["raid1".into(), "single".into()];
    other.file_systems[1].is_encrypted = false;
    other.disks[2].is_sealed = false;
    other.file_systems[1].mounts.push(("/sub".into(), "/srv/sub".into()));
    other.file_systems.push(file_system("xfs", &["sdc"], &[("/", "/srv/slow")]));
    other.routes = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"enp6s0"}]"#;
    let links = LINKS.replace("\"info_kind\": \"bridge\"", "\"info_kind\": \"other\"");
    other.links = &links;
    other.exports[0].1 = "/srv/fast/a *(rw)\n/home 192.0.2.0/24(rw)\n/srv/fast/b 192.0.2.0/24(rw,odd) 192.0.2.9(ro)\n".into();
    other.domains[0].xml = "<domain type='kvm'><name>web";
    insta::assert_snapshot!(shown(&describe(&other, ID)));
}

#[test]
fn of_nothing_there_is_a_text_with_what_is_left_to_do() {
    let imported = describe(&Machine::default(), ID);
    assert!(imported.is_open());
    assert!(imported.text.starts_with("schema = 1\n"));
}
