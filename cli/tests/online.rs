//! When a machine counts as online, by Debian's own networkd: with any NIC, at once, and without a failed unit where
//! none gets an address. The arguments are those that NixOS's unit was recorded with, and the embedded platform's.
//!
//! Wants root, namespaces and the kernel's pairs of Ethernet devices: `cargo xtask test` runs it by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A network of its own with one NIC, its networkd, and what waits for it. `/sys` is read-only, as in a
/// container: networkd waits for no udev then.
const MACHINE: &str = r#"
set -eu
mount -t tmpfs -o mode=755 own /run
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/network
chown -R systemd-network: /run/systemd/netif
mount -t sysfs -o ro own /sys
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
[ -z "$1" ] || printf '[Match]\nName=v0\n[Network]\nLinkLocalAddressing=no\n%s\n' "$1" > /run/systemd/network/10-own.network
/usr/lib/systemd/systemd-networkd > /run/networkd.log 2>&1 &
networkd=$!
trap 'kill $networkd' EXIT
begun=0
until [ -e /run/systemd/netif/state ] || [ $begun -ge 100 ]; do sleep 0.1; begun=$((begun + 1)); done
shift
status=0
/usr/lib/systemd/systemd-networkd-wait-online "$@" || status=$?
echo "ended with $status"
"#;

/// What the unit's command says of a machine whose NIC has this setting.
fn waited(setting: &str, arguments: &[&str]) -> String {
    let mut machine = Command::new("unshare");
    machine.args(["--net", "--mount", "bash", "-c", MACHINE, "machine", setting]).args(arguments);
    let output = machine.output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    said.trim().to_owned()
}

#[test]
#[ignore = "wants root, namespaces and networkd"]
fn a_machine_is_online_with_any_nic_and_no_unit_fails_where_there_is_none() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let recorded = fs::read_to_string(root.join("nix/nixos/recorded.json")).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let unit = &recorded["documents"]["mirror"]["units"]["systemd-networkd-wait-online.service"];
    let lines: Vec<&str> = unit.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let start = lines.iter().rev().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let arguments: Vec<String> = start.split(' ').skip(1).map(|it| it.replace('"', "")).collect();
    assert_eq!(arguments, ["--timeout=30", "--any"]);
    let embedded = fs::read_to_string(root.join("host-service/src/etc.rs")).unwrap();
    assert!(embedded.contains("systemd-networkd-wait-online --any --timeout=30"));
    assert!(embedded.contains("SuccessExitStatus=1") && lines.contains(&"SuccessExitStatus=1"));

    let soon = ["--timeout=3", "--any"];
    assert_eq!(waited("Address=192.0.2.9/24", &soon), "ended with 0");
    // 1 is what both platforms' units take for success.
    assert_eq!(waited("DHCP=yes", &soon), "ended with 1", "nobody gives it an address");
    assert_eq!(waited("", &soon), "ended with 1", "nobody manages it");
}
