//! What NixOS made of six documents (`nix/nixos/recorded.json`, by `NIXPKGS=DIR cargo xtask nixos-contract`), held
//! against what a machine needs, by Debian's own systemd where it reads such files, where there is no nixpkgs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Where Debian has programs that make units of crypttab and fstab.
const GENERATORS: &str = "/usr/lib/systemd/system-generators";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    made_of: BTreeMap<String, String>,
    documents: BTreeMap<String, Document>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    failed: Vec<String>,
    crypttab: Vec<String>,
    fstab: Vec<String>,
    units: BTreeMap<String, Vec<String>>,
    required_by: BTreeMap<String, Vec<String>>,
    wanted_at_boot: Vec<String>,
    generators: Vec<String>,
    pre_switch_checks: BTreeMap<String, Vec<String>>,
    network_files: Vec<String>,
}

impl Document {
    /// Values of a setting of a unit, in order.
    fn values(&self, unit: &str, key: &str) -> Vec<&str> {
        let lines = self.units.get(unit).unwrap_or_else(|| panic!("there is no {unit}"));
        let value = |line: &'_ String| {
            let (name, _) = line.split_once('=')?;
            (name == key).then_some(name.len() + 1)
        };
        lines.iter().filter_map(|line| value(line).map(|at| &line[at..])).collect()
    }

    fn words(&self, unit: &str, key: &str) -> BTreeSet<&str> {
        self.values(unit, key).into_iter().flat_map(str::split_whitespace).collect()
    }
}

fn nix() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/nixos")
}

fn recorded() -> Recorded {
    let text = fs::read_to_string(nix().join("recorded.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// As `nix/nixos/tests/recorded.nix` counts it: comments say nothing to NixOS.
fn digest(text: &str) -> String {
    let code: Vec<_> = text.split('\n').filter(|it| !it.trim_start().starts_with('#')).collect();
    Sha256::digest(code.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a generator of systemd writes for a table: files by name, with what they say.
fn generated(generator: &str, variable: &str, table: &[String]) -> BTreeMap<String, String> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("table");
    fs::write(&file, table.join("\n") + "\n").unwrap();
    let out = place.path().join("normal");
    let directories = ["normal", "early", "late"].map(|name| place.path().join(name));
    for directory in &directories {
        fs::create_dir(directory).unwrap();
    }
    let said = Command::new(Path::new(GENERATORS).join(generator))
        .args(&directories)
        .env(variable, &file)
        .env("SYSTEMD_PROC_CMDLINE", "")
        .env("SYSTEMD_IN_INITRD", "0")
        .env("SYSTEMD_LOG_TARGET", "console")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{generator}: {complaint}");
    let mut found = BTreeMap::new();
    let mut open = vec![out.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&out).unwrap().display().to_string();
            found.insert(name, fs::read_to_string(&path).unwrap_or_default());
        }
    }
    found
}

#[test]
fn the_record_is_of_the_module_as_it_is() {
    let mut stale = Vec::new();
    let recorded = recorded();
    for (name, then) in &recorded.made_of {
        let file = match name.strip_prefix("tests/installed") {
            Some(_) => nix().join("tests/installed/host.toml"),
            None if name.starts_with("tests/") => nix().join(format!("{name}.toml")),
            None => nix().join(name),
        };
        let now = fs::read_to_string(&file).map(|text| digest(&text)).unwrap_or_default();
        if now != *then {
            stale.push(name.as_str());
        }
    }
    let help = "make it anew: NIXPKGS=DIR cargo xtask nixos-contract";
    assert!(stale.is_empty(), "recorded.json is of other {stale:?}; {help}");
    assert!(recorded.made_of.len() > 14 && recorded.documents.len() == 6);
}

#[test]
fn no_assertion_of_nixos_fails() {
    for (name, document) in recorded().documents {
        assert!(document.failed.is_empty(), "{name}: {:?}", document.failed);
    }
}

#[test]
fn stage_1_opens_the_os_disk_with_the_stick_and_asks_without_it() {
    for (name, document) in recorded().documents {
        let units =
            generated("systemd-cryptsetup-generator", "SYSTEMD_CRYPTTAB", &document.crypttab);
        let (unit, text) = units
            .iter()
            .find(|(unit, _)| unit.starts_with("systemd-cryptsetup@bedplate"))
            .unwrap_or_else(|| panic!("{name}: {:?}", units.keys()));
        assert_eq!(unit, "systemd-cryptsetup@bedplate\\x2dos.service", "{name}");
        assert!(text.contains("'/dev/disk/by-uuid/"), "{name}: {text}");
        let keyfile = "/bedplate/keyfile'";
        assert!(text.contains(keyfile), "{name}: {text}");
        let patience = if name == "host" { "keyfile-timeout=45" } else { "keyfile-timeout=30" };
        assert!(text.contains(patience), "{name}: {text}");
        let several = name == "host";
        let stick = if several { "/dev/bedplate-stick" } else { "/dev/disk/by-uuid/1A2B-3C4D" };
        let mounts = units.iter().any(|(unit, text)| {
            unit.contains("keydev") && unit.ends_with(".mount") && text.contains(stick)
        });
        assert!(mounts, "{name}: nothing mounts {stick}: {units:#?}");
    }
}

#[test]
fn a_disk_that_is_gone_holds_up_no_boot() {
    for (name, document) in recorded().documents {
        let units = generated("systemd-fstab-generator", "SYSTEMD_FSTAB", &document.fstab);
        let needed: Vec<_> =
            units.keys().filter(|unit| unit.starts_with("local-fs.target.requires/")).collect();
        let has = |mount: &str| needed.iter().any(|unit| unit.ends_with(mount));
        assert!(has("/nix.mount") || has("/-.mount"), "{name}: {needed:?}");
        assert!(!has("/boot.mount") && !has("/boot\\x2dmirror.mount"), "{name}: {needed:?}");
        let mirrored = ["host", "mirror"].contains(&name.as_str());
        assert_eq!(units.contains_key("boot\\x2dmirror.mount"), mirrored, "{name}");
        let options =
            units["boot.mount"].lines().find(|line| line.starts_with("Options=")).unwrap();
        assert!(options.contains("dirsync") && options.contains("errors=continue"), "{options}");
        let patience =
            units.values().filter(|text| text.contains("JobRunningTimeoutSec=15s")).count();
        assert_eq!(patience, 1 + usize::from(mirrored), "{name}: {units:#?}");
        assert!(!units.keys().any(|unit| unit.starts_with("mnt-")), "{name}: a pool is in fstab");
    }
}

#[test]
fn a_replaced_mirror_and_another_host_are_looked_after() {
    for (name, document) in recorded().documents {
        let mirrored = ["host", "mirror"].contains(&name.as_str());
        let wanted: &[&str] = if mirrored { &["bedplate-boot-mirror"] } else { &[] };
        assert_eq!(document.generators, wanted, "{name}");
        let check = document.pre_switch_checks["bedplate"].concat();
        assert!(check.ends_with("/bin/bedplate-host generation fits \"$1\""), "{name}: {check}");
    }
}

#[test]
fn every_unit_of_ours_finds_its_program_and_mail_finds_sendmail() {
    let mut seen = 0;
    for (name, document) in recorded().documents {
        let is_ours = |unit: &&String| unit.starts_with("bedplate-") && unit.ends_with(".service");
        for unit in document.units.keys().filter(is_ours) {
            for start in document.values(unit, "ExecStart") {
                assert!(start.starts_with("/nix/store/-"), "{name}, {unit}: {start}");
                seen += 1;
            }
            let path = document.values(unit, "Environment").concat();
            if unit == "bedplate-notify.service" {
                assert!(path.contains("/run/wrappers/bin"), "{name}: {path}");
            }
        }
        assert_eq!(document.units.contains_key("bedplate-notify.service"), {
            ["host", "secrets"].contains(&name.as_str())
        });
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn pools_come_before_what_uses_them_and_nfs_after_its_firewall() {
    let recorded = recorded();
    let host = &recorded.documents["host"];
    assert_eq!(
        host.wanted_at_boot,
        ["bedplate-pool@bulk.service", "bedplate-pool@vmstore.service"]
    );
    let before = host.words("bedplate-pool@.service", "Before");
    assert!(before.contains("nfs-server.service") && before.contains("libvirtd.service"));
    assert!(host.words("bedplate-firewall.service", "Before").contains("nfs-server.service"));
    assert_eq!(host.required_by["bedplate-firewall.service"], ["nfs-server.service"]);
    assert!(
        !host
            .words("nfs-server.service", "X-Restart-Triggers")
            .iter()
            .any(|it| it.contains("host.toml"))
    );
    let stays = host.values("bedplate-pool@.service", "X-RestartIfChanged");
    assert_eq!(stays, ["false"], "a switch leaves mounted pools alone");
}

#[test]
fn guests_are_neither_started_nor_saved_by_libvirt() {
    for (name, document) in recorded().documents {
        let settings = document.values("libvirt-guests.service", "Environment").join(" ");
        assert!(settings.contains("ON_BOOT=ignore"), "{name}: {settings}");
        assert!(settings.contains("ON_SHUTDOWN=shutdown"), "{name}: {settings}");
    }
}

#[test]
fn a_machine_is_online_when_its_bridges_are_and_soon_without_one() {
    let recorded = recorded();
    let unit = "systemd-networkd-wait-online.service";
    for (name, document) in &recorded.documents {
        let bridges = ["guests", "host"].contains(&name.as_str());
        assert_eq!(!document.network_files.is_empty(), bridges || name == "mirror", "{name}");
        let start = document.values(unit, "ExecStart").concat();
        assert_eq!(start.contains("--any"), !bridges, "{name}: {start}");
        let timeout = if bridges { "--timeout=120" } else { "--timeout=30" };
        assert!(start.contains(timeout), "{name}: {start}");
        let fails = document.values(unit, "SuccessExitStatus").is_empty();
        assert_eq!(fails, bridges, "{name}");
    }
}
