//! The small guest boots from its own boot loader, takes a lease and reports.
//!
//! Run by name: `BEDPLATE_TREE=DIR cargo test -p bedplate-qemu-harness --test small_guest`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::PathBuf;
use std::time::Duration;

use bedplate_qemu_harness::guest_disk::{self, Errand};
use bedplate_qemu_harness::http::Server;
use bedplate_qemu_harness::machine::{
    Disk, DiskKind, FIRST_LEASE, Firmware, Format, HOST_ADDRESS, Lan, Machine,
};

#[test]
fn the_small_guest_reports_its_lease() {
    let tree = PathBuf::from(std::env::var_os("BEDPLATE_TREE").expect("BEDPLATE_TREE"));
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(0).unwrap();
    let report = format!("http://{HOST_ADDRESS}:{}", server.port());
    let errand = Errand { report, nfs: format!("{HOST_ADDRESS}:/nothing") };
    let guest = guest_disk::build(&tree, directory.path(), &errand, None).unwrap();
    let size = guest.file.metadata().unwrap().len();
    assert!(size < 40 << 20, "{size}");
    let machine = Machine {
        name: "small".into(),
        memory_mib: 256,
        cpus: 1,
        firmware: Firmware::Bios,
        kernel: None,
        disks: vec![Disk {
            role: "root".into(),
            kind: DiskKind::VirtioBlk,
            serial: "ROOT".into(),
            size: 48 << 20,
            file: directory.path().join("guest.qcow2"),
            format: Format::Qcow2,
            read_only: false,
            boot_index: Some(0),
        }],
        networks: vec![Lan {
            cidr: "192.168.1.0/24".into(),
            mac: "52:54:00:12:34:56".into(),
            forwards: Vec::new(),
        }],
        cable: None,
    };
    let running = machine
        .start(directory.path(), Some(std::sync::Arc::new(|line| println!("{line}"))))
        .unwrap();
    let up = server.wait_for("/guest/up", Duration::from_secs(120));
    let up = up.unwrap_or_else(|error| panic!("{error}\n{}", running.tail()));
    assert_eq!(up.target, format!("/guest/up?ip={FIRST_LEASE}&mac=52:54:00:12:34:56"));
    server.wait_for("/guest/nfs-failed", Duration::from_secs(60)).unwrap();
    running.cut_power().unwrap();
}
