//! What tests have in the place of ssh and of the server behind it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_tools::command::CommandExt as _;

use super::Enrolment;
use crate::answers::Repository;

/// The private key that the server lets in.
const KEY: &str =
    "-----BEGIN OPENSSH PRIVATE KEY-----\nnobody's\n-----END OPENSSH PRIVATE KEY-----\n";
/// The remote, by its owner's name for it.
pub const REMOTE: &str = "git@git.example.org:me/infra.git";
/// What the server is known by.
pub const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv";
/// In the place of ssh: notes what it is given, and starts what it is asked for on this machine. The
/// first times it finds nobody.
const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$@" >> argv
env >> environment
stat -c '%a %n' "$(dirname "$2")" "$(dirname "$2")"/* >> modes
cat "$2" > config
cat "$(dirname "$2")/known_hosts" > known_hosts
cmp -s "$(sed -n 's/^IdentityFile //p' "$2")" key || exit 3
if [ -s absent ]; then
	sed -i 1d absent
	echo 'ssh: connect to host git.example.org port 22: Network is unreachable' >&2
	exit 255
fi
for last; do :; done
eval "$(echo "$last" | sed "s|'me/infra.git'|'$PWD/infra.git'|")"
"#;

/// The host `box` of the owner of [`REMOTE`].
pub fn enrolment<'a>(
    repository: &'a Path,
    source: Option<&'a Repository>,
    hardware: &'a str,
) -> Enrolment<'a> {
    Enrolment {
        repository,
        source,
        hosts: "nix/hosts",
        name: "box",
        host_toml: "schema = 1\n",
        hardware,
        remote: Some(REMOTE),
        message: "Enrol box\n",
        host_key: None,
    }
}

/// A bare repository behind the stand-in, and a stick with the key for it.
pub struct Remote {
    place: tempfile::TempDir,
}

impl Remote {
    /// An empty one.
    pub fn new() -> Self {
        let remote = Self { place: tempfile::tempdir().unwrap() };
        remote.write("key", KEY, 0o600);
        remote.write("stick/bedplate/push-key", KEY, 0o600);
        remote.write("ssh", STAND_IN, 0o755);
        let mut git = Command::new("git");
        git.args(["init", "-q", "--bare", "-b", "main"]).arg(remote.at("infra.git"));
        git.run().unwrap();
        remote
    }

    /// A file beside it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes one.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// git in a directory beside it, as its owner; what it said.
    pub fn git(&self, directory: &str, owner: [&str; 2], words: &[&str]) -> String {
        let directory = self.at(directory);
        fs::create_dir_all(&directory).unwrap();
        let [name, email] = owner;
        let mut git = Command::new("git");
        git.arg("-C").arg(directory).args(["-c", &format!("user.name={name}")]);
        git.args(["-c", &format!("user.email={email}")]).args(words);
        git.read().unwrap().trim().to_owned()
    }

    /// Reads one.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }
}
