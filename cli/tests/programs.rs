//! Every program that `bedplate-host` starts is in the package that wraps it for NixOS. On the embedded platform all
//! of them are in the tree, and `PATH` holds its directories.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose code runs in `bedplate-host`.
const CRATES: [&str; 5] = [
    "host-service/src",
    "machine/guests/src",
    "machine/platform/src",
    "machine/disks/src",
    "machine/resources/src",
];
/// Modules of `tools` that only the embedded platform and workstations come to: NixOS builds and
/// switches by itself.
const ELSEWHERE: [&str; 3] = ["git", "nix", "mmdebstrap"];

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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        match path.is_dir() {
            true => found.extend(rust_files(&path)),
            false => found.extend(path.extension().is_some_and(|it| it == "rs").then_some(path)),
        }
    }
    found
}

/// The code of a file, without its module of tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()
}

/// The modules of `tools` that a text names.
fn modules(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("bedplate_tools::").skip(1) {
        let names = rest.strip_prefix('{').map_or(rest, |all| all.split('}').next().unwrap());
        let is_many = rest.starts_with('{');
        for name in names.split(',').take(if is_many { usize::MAX } else { 1 }) {
            let word: String =
                name.trim().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
            found.insert(word);
        }
    }
    found
}

/// The programs that a text starts, as far as it names them.
fn programs(text: &str) -> BTreeSet<String> {
    let starts = ["Command::new(\"", "Self::new(\"", "const PROGRAM: &str = \"", "program: \""];
    let named = starts.iter().flat_map(|start| text.split(start).skip(1));
    named.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The programs of `bedplate-host`, each with the file that starts it.
fn started() -> BTreeMap<String, PathBuf> {
    let tools = root().join("leaf/tools/src");
    let ours: Vec<PathBuf> = CRATES.iter().flat_map(|it| rust_files(&root().join(it))).collect();
    let used: BTreeSet<String> = ours.iter().flat_map(|path| modules(&code(path))).collect();
    let of_module = |name: &String| {
        let (file, directory) = (tools.join(format!("{name}.rs")), tools.join(name));
        let inner = if directory.is_dir() { rust_files(&directory) } else { Vec::new() };
        file.is_file().then_some(file).into_iter().chain(inner).collect::<Vec<_>>()
    };
    let wanted = used.iter().filter(|name| !ELSEWHERE.contains(&name.as_str()));
    let files = ours.iter().cloned().chain(wanted.flat_map(of_module));
    files
        .flat_map(|path| programs(&code(&path)).into_iter().map(move |it| (it, path.clone())))
        .collect()
}

#[test]
fn every_program_that_a_unit_calls_is_in_its_path() {
    let nix = |file: &str| fs::read_to_string(root().join("nix/nixos").join(file)).unwrap();
    let on_machine = nix("build.nix");
    let on_machine = on_machine.split_once("onMachine = [").unwrap().1.split_once(']').unwrap().0;
    let host = nix("bedplate-host.nix");
    let host = host.split_once("++ [").unwrap().1.split_once(']').unwrap().0;
    let packages: BTreeSet<&str> =
        on_machine.split_whitespace().chain(host.split_whitespace()).collect();
    let started = started();
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
