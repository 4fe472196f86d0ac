use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::context::Context;
use crate::kind::Kind as _;
use crate::mounts::Mounts;
use crate::{converge, report, sample};

const KEY: &str = include_str!("../../../secrets/tests/fixtures/ssh-ed25519-key");
/// Written by sops itself.
const SOPS: &str = include_str!("../../../secrets/tests/fixtures/secrets.yaml");

/// An `/etc` with the host's key and a clone, and a document that refers to both.
struct Machine {
    root: tempfile::TempDir,
    host: HostFile,
}

impl Machine {
    fn new(password: SecretReference) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut host = sample::intent();
        host.backups.values_mut().for_each(|backup| backup.password = password.clone());
        assert_eq!(host.backups.len(), 1, "the sample has one backup");
        let machine = Self { root, host };
        machine.write(HOST_KEY, KEY.as_bytes(), 0o600);
        machine.write("nixos/nix/hosts/hypervisor/secrets.yaml", SOPS.as_bytes(), 0o644);
        machine
    }

    fn write(&self, path: &str, bytes: &[u8], mode: u32) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn repository(&self) -> Repository {
        Repository::below(self.root.path(), &self.host)
    }

    fn password(&self) -> &SecretReference {
        &self.host.backups.values().next().unwrap().password
    }

    fn refused(&self) -> String {
        use std::error::Error as _;
        let error = self.repository().open(self.password()).unwrap_err();
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}").replace(&self.root.path().display().to_string(), "/etc")
    }

    fn context(&self) -> Context {
        Context {
            intent: self.host.clone(),
            mounts: Mounts::default(),
            configuration: self.root.path().to_owned(),
            runtime: self.root.path().join("run"),
            state: self.root.path().join("state"),
        }
    }
}

fn sops(key: &str) -> SecretReference {
    SecretReference::Sops { file: "secrets.yaml".into(), key: key.into() }
}

#[test]
fn the_hosts_key_opens_a_value_that_sops_encrypted() {
    let machine = Machine::new(sops("nested/test/file"));
    let secret = machine.repository().open(machine.password()).unwrap();
    assert_eq!(secret.expose(), b"another value");
}

#[test]
fn the_hosts_key_opens_an_age_file_and_the_end_of_the_line_is_left_off() {
    let machine = Machine::new(SecretReference::Age("sub/restic.age".into()));
    let recipient = ssh::identity(&Secret::new(KEY.into())).unwrap().recipient();
    let file = age_file::seal(&Secret::new(b"pass word\r\n".to_vec()), &[recipient]).unwrap();
    machine.write("nixos/nix/hosts/hypervisor/sub/restic.age", &file, 0o644);
    assert_eq!(machine.repository().open(machine.password()).unwrap().expose(), b"pass word");
}

#[test]
fn what_does_not_open_says_why() {
    let mut told = Vec::new();
    let machine = Machine::new(sops("other"));
    told.push(machine.refused());
    machine.write("nixos/nix/hosts/hypervisor/secrets.yaml", b"a: b\n", 0o644);
    told.push(machine.refused());
    fs::remove_file(machine.root.path().join("nixos/nix/hosts/hypervisor/secrets.yaml")).unwrap();
    told.push(machine.refused());
    let machine = Machine::new(sops("test_key"));
    machine.write(HOST_KEY, KEY.as_bytes(), 0o644);
    told.push(machine.refused());
    machine.write(HOST_KEY, b"no key", 0o600);
    told.push(machine.refused());
    fs::remove_file(machine.root.path().join(HOST_KEY)).unwrap();
    told.push(machine.refused());
    let machine = Machine::new(SecretReference::Age("secrets.yaml".into()));
    told.push(machine.refused());
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn t15_a_link_does_not_lead_out_of_the_hosts_directory() {
    let machine = Machine::new(SecretReference::Age("link.age".into()));
    machine.write("outside", b"secret", 0o600);
    let outside = machine.root.path().join("outside");
    symlink(outside, machine.root.path().join("nixos/nix/hosts/hypervisor/link.age")).unwrap();
    assert!(machine.refused().contains("could not be read"), "{}", machine.refused());
}

#[test]
fn t19_a_secret_that_does_not_open_fails_converge_and_none_is_told() {
    for (key, agrees) in [("test_key", true), ("nowhere", false)] {
        let machine = Machine::new(sops(key));
        let context = machine.context();
        let observed = Secrets.observe(&context).unwrap();
        let resources = Secrets::diff(&context.intent, &observed);
        let [resource] = resources.as_slice() else { panic!("{resources:?}") };
        assert!(resource.name.starts_with("backups.") && resource.name.ends_with(".password"));
        assert_eq!(resource.refused.is_none(), agrees);
        assert!(!format!("{observed:?}{resources:?}").contains("test_value"));
        let mut events = Vec::new();
        let mut sink = |event: &bedplate_spec::event::Event| events.push(format!("{event:?}"));
        let done =
            converge::converge_kind(Secrets, &context, &mut report::Reporter::new(&mut sink));
        assert_eq!(done, agrees);
        let told = events.join("\n");
        assert_eq!(told.contains("it has no value `nowhere`"), !agrees, "{told}");
        assert!(!told.contains("test_value") && !told.contains("another value"), "{told}");
    }
}
