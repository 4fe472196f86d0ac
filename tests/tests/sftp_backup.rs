//! A backup over sftp from the installed machine: the key comes from the stick, the server must show
//! the host key of host.toml. The server is the machine's own sshd. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_tests::answers::{self, GUEST};
use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::story::Story;
use toml_edit::{InlineTable, value};

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

#[test]
fn t41_a_backup_goes_over_sftp_to_the_server_of_the_document_and_to_no_other() {
    let (_directory, _, story) = installed::lent("sftp").unwrap();
    let host = story.boot(story.disks()).unwrap();
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

    host.bedplate(DOCUMENT, &["backup", "run", BACKUP]).unwrap();
    let listed = host.bedplate(DOCUMENT, &["backup", "list", BACKUP]).unwrap();
    assert!(listed.contains("8388608 bytes"), "{listed}");
    host.bedplate(DOCUMENT, &["backup", "drill", BACKUP]).unwrap();
    host.read(&["test", "-e", &format!("{REPOSITORY}/config")]).unwrap();
    let left = "grep -rl 'OPENSSH PRIVATE KEY' /run /tmp /dev/shm || true";
    assert_eq!(host.shell(left).unwrap(), "", "t19: the key was left behind");
    host.power_off().unwrap();
}
