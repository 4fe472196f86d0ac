//! Every program that `bedplate-host` starts is in the package that wraps it for NixOS. That the tree of the embedded
//! platform has all of them is in the story `closure`, which has one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::BTreeSet;
use std::fs;

use bedplate_tests::medium::Workspace;
use bedplate_tests::started;

/// Programs of the embedded platform's `rebuild`, which NixOS does without us.
const OF_THE_PLATFORM: [&str; 4] = ["git", "nix", "nix-env", "nix-store"];

/// The package of nixpkgs that a program is in.
const PACKAGES: [(&str, &str); 24] = [
    ("blockdev", "util-linux"),
    ("btrfs", "btrfs-progs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("exportfs", "nfs-utils"),
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("modprobe", "kmod"),
    ("mount", "util-linux"),
    ("umount", "util-linux"),
    ("wipefs", "util-linux"),
    ("networkctl", "systemd"),
    ("nft", "nftables"),
    ("qemu-img", "qemu"),
    ("qemu-system-x86_64", "qemu"),
    ("restic", "restic"),
    ("smartctl", "smartmontools"),
    ("systemctl", "systemd"),
    ("systemd-analyze", "systemd"),
    ("systemd-ask-password", "systemd"),
    ("systemd-run", "systemd"),
    ("udevadm", "systemd"),
    ("virsh", "libvirt"),
    ("ssh-keygen", "openssh"),
    ("sh", "bash"),
];

#[test]
fn every_program_that_a_unit_calls_is_in_its_path() {
    let nix = |file: &str| {
        fs::read_to_string(Workspace::own().root.join("nix/nixos").join(file)).unwrap()
    };
    let on_machine = nix("build.nix");
    let on_machine = on_machine.split_once("onMachine = [").unwrap().1.split_once(']').unwrap().0;
    let host = nix("bedplate-host.nix");
    let host = host.split_once("++ [").unwrap().1.split_once(']').unwrap().0;
    let packages: BTreeSet<&str> =
        on_machine.split_whitespace().chain(host.split_whitespace()).collect();
    let started = started::by_host().unwrap();
    for expected in ["btrfs", "virsh", "restic", "nft", "smartctl", "systemctl"] {
        assert!(started.contains_key(expected), "{expected} is not found: {started:?}");
    }
    assert!(
        started.contains_key("sendmail")
            && nix("units.nix").contains("path = [ \"/run/wrappers\" ];")
    );
    let apart =
        |name: &str| name == "sendmail" || OF_THE_PLATFORM.contains(&name) || name.starts_with('/');
    for (program, file) in started.iter().filter(|(program, _)| !apart(program)) {
        let known = PACKAGES.iter().find(|(name, _)| name == program);
        let (_, package) =
            known.unwrap_or_else(|| panic!("{program} of {} has no package here", file.display()));
        assert!(packages.contains(package), "{program} ({}) wants {package}", file.display());
    }
}
