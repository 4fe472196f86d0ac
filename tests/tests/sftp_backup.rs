//! Backups over a network from the installed machine, their credentials from the stick: over sftp, where the
//! server must show the host key of host.toml, and to restic's own server. Both servers are units of the
//! machine itself. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::answers::{self, GUEST};
use bedplate_tests::medium::Workspace;
use bedplate_tests::running_host::Host;
use bedplate_tests::story::Story;
use bedplate_tests::{carried, installed, vault};
use toml_edit::{InlineTable, value};

/// How long a server on the machine may take until it listens.
const LISTENS: std::time::Duration = std::time::Duration::from_secs(60);
/// The backup.
const BACKUP: &str = "far";
/// Its repository, for the server.
const REPOSITORY: &str = "/mnt/vmstore/far";
/// What is backed up.
const DATA: &str = "/mnt/bulk/apps-vm";
/// Where on the stick the private key is.
const KEY: &str = "bedplate/sftp";
/// Where the machine is told of it, with the server's host key and with another.
const DOCUMENT: &str = "/root/sftp.toml";
const IMPOSTOR: &str = "/root/impostor.toml";
/// restic's server: the role of its disk, its program and its unit.
const SERVER: &str = "restserver";
/// Where on the stick its credentials are, and where the machine is told of it.
const REST_CREDENTIALS: &str = "bedplate/rest";
const REST_DOCUMENT: &str = "/root/rest.toml";

fn with_backup(story: &Story, host_key: &str) -> String {
    let mut document = story.document().unwrap();
    let mut backup = answers::backup(&format!("sftp:root@localhost:{REPOSITORY}"), &[DATA]);
    let mut credentials = InlineTable::new();
    credentials.insert("stick", KEY.into());
    backup["credentials"] = value(credentials);
    backup["host_key"] = value(host_key.trim());
    answers::back_up(&mut document, BACKUP, backup);
    answers::parse(&document.to_string()).unwrap();
    document.to_string()
}

/// Makes a key that may log in, puts its private half onto the stick, and returns the public key
/// of the server, and one of somebody else.
fn keys(host: &Host, stick: &str) -> (String, String) {
    let line = format!(
        "set -e; umask 077; cd /run; ssh-keygen -q -t ed25519 -N '' -f new; \
         ssh-keygen -q -t ed25519 -N '' -f stranger; mkdir -p /root/.ssh stick; \
         cat new.pub >> /root/.ssh/authorized_keys; mount /dev/disk/by-uuid/{stick} stick; \
         cp new stick/{KEY}; umount stick; rm new new.pub stranger; \
         cat /etc/ssh/ssh_host_ed25519_key.pub stranger.pub"
    );
    let keys = host.shell(&line).unwrap();
    let (server, stranger) = keys.trim().split_once('\n').unwrap();
    (server.to_owned(), stranger.to_owned())
}

/// The machine's disks, and one with restic's server, which is no part of the platform.
fn disks(story: &Story) -> Vec<Disk> {
    let server = vault::program(&Workspace::own()).unwrap();
    let mut disks = story.disks();
    disks.push(carried::program(SERVER, &server, &story.directory).unwrap());
    disks
}

fn with_rest_server(story: &Story) -> String {
    let mut document = story.document().unwrap();
    let mut backup = answers::backup("rest:http://127.0.0.1:8000/hv/", &[DATA]);
    let mut credentials = InlineTable::new();
    credentials.insert("stick", REST_CREDENTIALS.into());
    backup["credentials"] = value(credentials);
    answers::back_up(&mut document, BACKUP, backup);
    answers::parse(&document.to_string()).unwrap();
    document.to_string()
}

/// A unit of the machine, which lets in whoever the stick knows.
fn rest_server(host: &Host, stick: &str) {
    let line = format!(
        "set -e; umask 077; mkdir -p /run/{SERVER} /mnt/vmstore/rest; \
         mount -t squashfs -o ro {disk} /run/{SERVER}; mount /dev/disk/by-uuid/{stick} /run/stick; \
         printf %s 'hv:p@ss:w/rd' > /run/stick/{REST_CREDENTIALS}; umount /run/stick; \
         printf '%s\\n' 'hv:{{SHA}}uapAsobrY/8kaQR+2ssHLsRJ1Ps=' > /run/htpasswd; \
         systemd-run --unit {SERVER} /run/{SERVER}/{SERVER} --listen 127.0.0.1:8000 \
         --path /mnt/vmstore/rest --htpasswd-file /run/htpasswd --private-repos; \
         timeout {patience} sh -c 'until busybox nc 127.0.0.1 8000 < /dev/null; do sleep 1; done'",
        disk = carried::by_id(SERVER),
        patience = Pace::known().seconds(LISTENS)
    );
    host.shell(&line).unwrap();
}

/// What is backed up, what is listed, and what comes back.
fn is_kept(host: &Host, document: &str) {
    host.bedplate(document, &["backup", "run", BACKUP]).unwrap();
    let listed = host.bedplate(document, &["backup", "list", BACKUP]).unwrap();
    assert!(listed.contains("8388608 bytes"), "{listed}");
    host.bedplate(document, &["backup", "drill", BACKUP]).unwrap();
}

#[test]
fn t41_backups_go_to_the_servers_of_the_document_and_to_no_other() {
    let (_directory, _, story) = installed::lent("sftp").unwrap();
    let host = story.boot(disks(&story)).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    host.read(&["virsh", "--quiet", "destroy", GUEST]).unwrap();
    let stick =
        story.document().unwrap()["unlock"]["sticks"][0]["volume_id"].as_str().unwrap().to_owned();
    let (server, stranger) = keys(&host, &stick);
    host.write(DOCUMENT, &with_backup(&story, &server)).unwrap();
    host.write(IMPOSTOR, &with_backup(&story, &stranger)).unwrap();
    host.shell(&format!("head -c 8M /dev/urandom > {DATA}/photos")).unwrap();

    let run = ["bedplate-host", "--host-file", IMPOSTOR, "backup", "run", BACKUP];
    let refused = host.run(&run).unwrap();
    assert_ne!(refused.status, 0, "{refused:?}");
    assert_ne!(host.run(&["test", "-e", REPOSITORY]).unwrap().status, 0, "it was made");

    is_kept(&host, DOCUMENT);
    host.read(&["test", "-e", &format!("{REPOSITORY}/config")]).unwrap();

    rest_server(&host, &stick);
    host.write(REST_DOCUMENT, &with_rest_server(&story)).unwrap();
    is_kept(&host, REST_DOCUMENT);
    host.read(&["test", "-e", "/mnt/vmstore/rest/hv/config"]).unwrap();
    let told = host.shell("journalctl -b -o cat; ps -ww -eo args").unwrap();
    assert!(!told.contains("p@ss:w/rd"), "t19");
    let left = "grep -rl 'OPENSSH PRIVATE KEY' /run /tmp /dev/shm || true";
    assert_eq!(host.shell(left).unwrap(), "", "t19: the key was left behind");
    host.power_off().unwrap();
}
