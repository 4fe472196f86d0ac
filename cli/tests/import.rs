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

/// A libvirt of its own with the test driver; none where libvirt is not installed.
struct Daemon {
    process: std::process::Child,
    uri: String,
}

impl Daemon {
    fn start(place: &Path) -> Option<Self> {
        let runtime = place.join("libvirt");
        fs::create_dir(&runtime).unwrap();
        let (settings, shown) = (place.join("libvirtd.conf"), runtime.display());
        let open = "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n";
        fs::write(&settings, format!("unix_sock_dir = \"{shown}\"\n{open}")).unwrap();
        // Started by root, it would want accounts of its package: it is nobody's then.
        let is_root = rustix::process::getuid().is_root();
        let mut command = Command::new(if is_root { "setpriv" } else { "libvirtd" });
        if is_root {
            std::os::unix::fs::chown(&runtime, Some(65534), Some(65534)).unwrap();
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "libvirtd"]);
        }
        command.arg("-f").arg(&settings).arg("-p").arg(runtime.join("pid"));
        command.env("HOME", &runtime).env("XDG_RUNTIME_DIR", &runtime);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().ok()?;
        let socket = runtime.join("libvirt-sock");
        let daemon =
            Self { process, uri: format!("test+unix:///default?socket={}", socket.display()) };
        let listens = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            socket.exists()
        });
        listens.then_some(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop((self.process.kill(), self.process.wait()));
    }
}

#[test]
fn a_libvirt_that_runs_is_asked_for_its_domains() {
    let is_there = |name: &str| bedplate_tools::programs::find(name).is_some();
    if !["libvirtd", "setpriv"].into_iter().all(is_there) {
        return;
    }
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), open).unwrap();
    let Some(daemon) = Daemon::start(place.path()) else { panic!("libvirtd does not listen") };
    // The test driver has one domain, and it is of another processor.
    let all = import(&["libvirt", "--connect", &daemon.uri]);
    assert_eq!(all.status.code(), Some(4), "{}", stderr(&all));
    assert!(
        stderr(&all).contains("test:1:1: test: left out: its processor is `i686`"),
        "{}",
        stderr(&all)
    );
    let one = import(&["libvirt", "--connect", &daemon.uri, "--domain", "test"]);
    assert_eq!(stderr(&one), stderr(&all));
    let none = import(&["libvirt", "--connect", &daemon.uri, "--domain", "web"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("has no domain `web`; it has: test"), "{}", stderr(&none));
}

#[test]
fn a_machine_is_described_as_it_runs_with_an_id_of_its_own() {
    if Path::new("/etc/bedplate/host.toml").exists() {
        return;
    }
    let adopt = || bedplate(&["adopt"], Stdio::null());
    let (one, other) = (adopt(), adopt());
    // Nobody can see from outside which stick opens the disks.
    assert_eq!(one.status.code(), Some(4), "{}", stderr(&one));
    assert!(stderr(&one).contains("unlock.sticks: "), "{}", stderr(&one));
    let text = stdout(&one);
    assert!(text.starts_with("schema = 1\n\n[host]\nid = \""), "{text}");
    let wrong = bedplate_document::parse(&text, "host.toml");
    assert!(!format!("{wrong:?}").contains("not TOML"), "{wrong:?}");
    assert!(!text.contains(bedplate_model::identity::EXAMPLE_ID_PREFIX), "{text}");
    assert_ne!(text, stdout(&other));
}
