//! `bedplate host prepare` and `bedplate secrets rekey` as people run them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bedplate_secrets::ssh::{self, Identity, Recipient};
use bedplate_secrets::{age_file, sops};
use bedplate_tools::secret::Secret;

const ADMIN_KEY: &str = include_str!("../../leaf/secrets/tests/fixtures/age-keys.txt");
const ADMIN: &str = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
/// Written by sops, for the admin above and another host.
const SOPS: &str = include_str!("../../leaf/secrets/tests/fixtures/secrets.yaml");
const HOST: &str = "nix/hosts/hypervisor";
const SEALED: &str = "bedplate/ssh_host_ed25519_key.age";
const RULES: &str = "# ours\ncreation_rules:\n  - path_regex: ^nix/hosts/hypervisor/\n    age: age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw\n";
/// Stands for sops, which Debian does not have: notes who is to open the file, as sops does in
/// its metadata, and encrypts nothing.
const STAND_IN: &str = r#"#!/bin/sh
[ "$1" = --version ] && exit 0
[ "$1 $2" = "updatekeys --yes" ] || exit 9
[ -e refuse ] && { echo "no key could decrypt the data" >&2; exit 128; }
new=$(grep -o 'age1[0-9a-z]*' .sops.yaml | tail -1)
sed -i "s/^    age:\$/    age:\n        - recipient: $new\n          enc: x/" "$3"
"#;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    /// A repository with one host, a stick and a passphrase.
    fn new() -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let profile = fs::read_to_string(root.join("profiles/hypervisor/host.toml")).unwrap();
        let stick = "password = { stick = \"bedplate/restic-apps\" }";
        let text = profile.replace(stick, "password = { age = \"restic.age\" }");
        assert_ne!(text, profile);
        desk.write(&format!("{HOST}/host.toml"), text.as_bytes());
        desk.write(&format!("{HOST}/data/secrets.yaml"), SOPS.as_bytes());
        let to = ADMIN.parse::<Recipient>().unwrap();
        let sealed = age_file::seal(&Secret::new(b"canary".to_vec()), &[to]).unwrap();
        desk.write(&format!("{HOST}/restic.age"), &sealed);
        desk.write(".sops.yaml", RULES.as_bytes());
        desk.write("words", b"correct horse battery\n");
        desk.write("admin", ADMIN_KEY.as_bytes());
        desk.write("programs/sops", STAND_IN.as_bytes());
        let program = desk.path("programs/sops");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(desk.path("stick")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, line: &str, with_sops: bool) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        let ours = if with_sops { self.path("programs") } else { self.path("nothing") };
        command.env("PATH", format!("{}:/usr/bin:/bin", ours.display()));
        command.args(line.split(' ')).current_dir(self.directory.path()).output().unwrap()
    }

    fn done(&self, line: &str) -> String {
        let output = self.run(line, true);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, line: &str, with_sops: bool) -> String {
        let output = self.run(line, with_sops);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// The host's key, out of what stands on the stick.
    fn host(&self) -> Identity {
        let sealed = fs::read(self.path("stick").join(SEALED)).unwrap();
        let words = Secret::new(b"correct horse battery".to_vec());
        ssh::identity(&age_file::open_with_passphrase(&sealed, &words).unwrap()).unwrap()
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        found
    }
}

const PREPARE: &str = "host prepare hypervisor --stick stick --passphrase-file words";

#[test]
fn a_host_that_was_prepared_opens_its_secrets_with_the_key_on_its_stick() {
    let desk = Desk::new();
    let told = desk.done(&format!("{PREPARE} --identity admin"));
    let host = desk.host();
    let told = told.replace(host.recipient().as_str(), "age1…");
    insta::assert_snapshot!("prepared", told);
    let public = desk.text(&format!("{HOST}/ssh_host_ed25519_key.pub"));
    assert_eq!(ssh::recipient(&public).unwrap(), host.recipient());
    let rules = RULES.replace(ADMIN, &format!("{ADMIN},{}", host.recipient()));
    assert_eq!(desk.text(".sops.yaml"), rules);
    let names = sops::recipients(&desk.text(&format!("{HOST}/data/secrets.yaml"))).unwrap();
    assert!(names.contains(&host.recipient().to_string()), "{names:?}");
    let sealed = desk.text(&format!("{HOST}/restic.age"));
    assert_eq!(age_file::open(sealed.as_bytes(), &[host]).unwrap().expose(), b"canary");
}

#[test]
fn t19_the_key_stands_nowhere_unsealed_and_no_secret_is_told() {
    let desk = Desk::new();
    let output = desk.run(&format!("{PREPARE} --identity admin"), true);
    let told = [output.stdout, output.stderr].concat();
    let key = desk.host().to_secret();
    for (path, bytes) in desk.files().into_iter().chain([(PathBuf::from("told"), told)]) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("OPENSSH PRIVATE KEY"), "{}", path.display());
        assert!(!bytes.windows(key.expose().len()).any(|part| part == key.expose()));
        let is_words = path.ends_with("words");
        assert!(is_words || !text.contains("correct horse"), "{}", path.display());
        assert!(!text.contains("canary"), "{}", path.display());
    }
}

#[test]
fn t26_a_key_is_made_once() {
    let desk = Desk::new();
    desk.done(&format!("{PREPARE} --identity admin"));
    let sealed = fs::read(desk.path("stick").join(SEALED)).unwrap();
    let error = desk.refused(PREPARE, true);
    assert!(error.contains("hypervisor has its key"), "{error}");
    fs::remove_file(desk.path(&format!("{HOST}/ssh_host_ed25519_key.pub"))).unwrap();
    let error = desk.refused(PREPARE, true);
    assert!(error.contains("is not overwritten"), "{error}");
    assert_eq!(fs::read(desk.path("stick").join(SEALED)).unwrap(), sealed);
}

#[test]
fn without_sops_the_round_says_what_is_left_and_rekey_ends_it() {
    let desk = Desk::new();
    let error = desk.refused(PREPARE, false);
    insta::assert_snapshot!("without_sops", error);
    let before = desk.text(&format!("{HOST}/data/secrets.yaml"));
    assert_eq!(before, SOPS);
    desk.write("refuse", b"");
    let error = desk.refused("secrets rekey hypervisor --identity admin", true);
    assert!(
        error.contains("no key could decrypt") && error.contains("SOPS_AGE_KEY_FILE"),
        "{error}"
    );
    assert_eq!(desk.text(&format!("{HOST}/data/secrets.yaml")), SOPS);
    fs::remove_file(desk.path("refuse")).unwrap();
    desk.done("secrets rekey hypervisor --identity admin");
    // Once more: nothing is left to do, with or without sops.
    let again = desk.run("secrets rekey hypervisor --identity admin", false);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn a_key_for_the_admin_makes_the_first_rules() {
    let desk = Desk::new();
    fs::remove_file(desk.path(".sops.yaml")).unwrap();
    fs::remove_file(desk.path(&format!("{HOST}/data/secrets.yaml"))).unwrap();
    let line = format!("host prepare hypervisor -o key.age --admin {ADMIN} --identity admin");
    desk.done(&line);
    let admin = ssh::identities(&Secret::new(ADMIN_KEY.into())).unwrap();
    let sealed = fs::read(desk.path("key.age")).unwrap();
    let host = ssh::identity(&age_file::open(&sealed, &admin).unwrap()).unwrap();
    let rules = desk.text(".sops.yaml").replace(host.recipient().as_str(), "age1…");
    insta::assert_snapshot!("first_rules", rules);
}

#[test]
fn what_cannot_be_prepared_leaves_nothing_behind() {
    let desk = Desk::new();
    let before = desk.files();
    for (line, says) in [
        ("host prepare other -o key.age --passphrase-file words", "is no directory"),
        ("host prepare hypervisor -o key.age --admin age1x", "no OpenSSH public key"),
        ("host prepare hypervisor -o key.age --passphrase-file .sops.yaml2", "No such file"),
        ("host prepare hypervisor -o words --passphrase-file words", "is not overwritten"),
    ] {
        let error = desk.refused(line, true);
        assert!(error.contains(says), "{line}: {error}");
    }
    desk.write("short", b"hunter2\n");
    let error = desk.refused("host prepare hypervisor -o key.age --passphrase-file short", true);
    assert!(error.contains("less than 12"), "{error}");
    fs::remove_file(desk.path("short")).unwrap();
    let usage = desk.run("host prepare ../x -o key.age --passphrase-file words", true);
    assert_eq!(usage.status.code(), Some(2));
    assert_eq!(desk.files(), before);
}

#[test]
fn t26_no_recipient_of_a_file_of_age_is_left_out_in_silence() {
    let yubikey = "age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt";
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDkFf0JhdZkPsPVFJrAnbxg9lQ9Jvjuc5Zz1xUiQpZzV";
    for foreign in [yubikey, line, "age1\u{1b}[2J"] {
        let desk = Desk::new();
        desk.done(&format!("{PREPARE} --identity admin"));
        let rules = desk.text(".sops.yaml").replace(ADMIN, &format!("{ADMIN},{foreign}"));
        desk.write(".sops.yaml", rules.as_bytes());
        let before = desk.files();
        let error = desk.refused("secrets rekey hypervisor --identity admin", true);
        let named = foreign.escape_debug().to_string();
        assert!(foreign.contains('\u{1b}') || error.contains(&named), "{error}");
        assert!(error.contains("restic.age") && error.contains("Nothing was written"), "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert_eq!(desk.files(), before);
    }
    // Nor is a key made for a host whose files could not follow.
    let desk = Desk::new();
    desk.write(".sops.yaml", RULES.replace(ADMIN, &format!("{ADMIN},{yubikey}")).as_bytes());
    let before = desk.files();
    let error = desk.refused(&format!("{PREPARE} --identity admin"), true);
    assert!(error.contains(yubikey), "{error}");
    assert_eq!(desk.files(), before);
}
