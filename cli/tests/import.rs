//! `bedplate import` as people run it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn bedplate(arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.args(arguments).current_dir(root()).stdin(input).output().unwrap()
}

fn import(arguments: &[&str]) -> Output {
    bedplate(&[&["import"], arguments].concat(), Stdio::null())
}

fn fixture(name: &str) -> String {
    format!("leaf/import/tests/fixtures/{name}")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The example with these machines in it.
fn host_with(place: &Path, machines: &str) -> PathBuf {
    let host = place.join("host.toml");
    let text = fs::read_to_string(root().join("profiles/hypervisor/host.toml")).unwrap();
    fs::write(&host, format!("{text}\n{machines}")).unwrap();
    host
}

#[test]
fn what_is_done_ends_with_0_and_is_taken_by_check() {
    let place = tempfile::tempdir().unwrap();
    for name in ["seed.yml", "shared.yml"] {
        let output = import(&["ansible", &fixture(name)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        let host = host_with(place.path(), &stdout(&output));
        let check = bedplate(&["check", host.to_str().unwrap()], Stdio::null());
        assert_eq!(check.status.code(), Some(0), "{name}: {}", stderr(&check));
    }
}

#[test]
fn what_is_left_to_do_ends_with_4_and_says_where() {
    for (kind, name, told) in [
        ("ansible", "numbers.yml", "numbers.yml:12:11: sticks.vcpu: "),
        ("libvirt", "router.xml", "router.xml:9:3: router.machine: "),
        ("proxmox", "110.conf", "110.conf:18:1: cellar.nics: "),
        ("disko", "shelf.json", "shelf.json:4:12: disks.os: "),
        ("compose", "compose.yml", "compose.yml:5:3: services.recipes: "),
    ] {
        let output = import(&[kind, &fixture(name)]);
        assert_eq!(output.status.code(), Some(4), "{kind}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{kind}: {}", stderr(&output));
        assert_eq!(stdout(&output).is_empty(), kind == "compose", "{}", stdout(&output));
    }
}

#[test]
fn what_cannot_be_read_ends_with_1_and_says_where() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let long = vec![b'#'; bedplate_import::LIMIT + 1];
    for (kind, path, told) in [
        (
            "ansible",
            file("map.yml", b"libvirt_vms:\n  web: {}\n"),
            "map.yml:2:3: `libvirt_vms` is a map",
        ),
        ("libvirt", file("net.xml", b"<network/>"), "net.xml:1:1: this is `network`"),
        ("proxmox", file("lxc.conf", b"rootfs: a:b\n"), "lxc.conf:1:1: this is a container"),
        ("disko", file("disko.nix", b"{ }: 1"), "disko.nix:1:"),
        ("compose", file("latin.yml", b"services: \xe9"), "is not UTF-8"),
        ("ansible", file("long.yml", &long), "has more than"),
        ("ansible", "nothing.yml".to_owned(), "could not read nothing.yml"),
    ] {
        let output = import(&[kind, &path]);
        assert_eq!(output.status.code(), Some(1), "{path}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{path}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    let remote = import(&["libvirt", "--connect", "qemu+ssh://host/system"]);
    assert!(stderr(&remote).contains("names no libvirt of this machine"), "{}", stderr(&remote));
    assert_eq!(import(&["libvirt"]).status.code(), Some(2));
    assert_eq!(import(&["libvirt", "a.xml", "--domain", "a"]).status.code(), Some(2));
}

#[test]
fn it_reads_standard_input_and_compares_with_a_host_toml() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("web.yml");
    fs::write(&path, "libvirt_vms: [{ name: web, existing_disk: a.qcow2, bridge: br7 }]\n")
        .unwrap();
    let input = || Stdio::from(fs::File::open(&path).unwrap());
    let run = |more: &[&str]| bedplate(&[&["import", "ansible", "-"], more].concat(), input());
    let alone = run(&[]);
    assert!(stderr(&alone).contains("standard input:1:"), "{}", stderr(&alone));
    assert_eq!(alone.status.code(), Some(4));
    let with = "[network.bridges.br7]\nnic = \"enp7s0\"\n";
    let host = host_with(place.path(), with);
    let compared = run(&["--host", host.to_str().unwrap()]);
    assert_eq!(compared.status.code(), Some(0), "{}", stderr(&compared));
    let host = host_with(place.path(), &format!("{with}{}", stdout(&compared)));
    let twice = run(&["--host", host.to_str().unwrap()]);
    assert_eq!(twice.status.code(), Some(4), "{}", stderr(&twice));
    fs::write(&host, "schema = 2\n").unwrap();
    assert_eq!(run(&["--host", host.to_str().unwrap()]).status.code(), Some(1));
}
