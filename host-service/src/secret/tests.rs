use std::fs;
use std::os::unix::fs::symlink;

use bedplate_model::host::SecretFile;

use super::*;
use bedplate_resources::compared;
use bedplate_resources::context::Context;
use bedplate_resources::kind::Kind as _;
use bedplate_sample as sample;
use bedplate_tools::mounts::Mounts;

use crate::handoff;
use bedplate_engine::Reporter;

const KEY: &str = include_str!("../../../leaf/secrets/tests/fixtures/ssh-ed25519-key");
/// Written by sops itself.
const SOPS: &str = include_str!("../../../leaf/secrets/tests/fixtures/secrets.yaml");

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
        let mut sink = |event: &bedplate_events::Event| events.push(format!("{event:?}"));
        let done = compared::prepare(Secrets, &context).perform(&context, &Reporter::to(&mut sink));
        assert_eq!(done, agrees);
        let told = events.join("\n");
        assert_eq!(told.contains("it has no value `nowhere`"), !agrees, "{told}");
        assert!(!told.contains("test_value") && !told.contains("another value"), "{told}");
    }
}

/// A machine whose `/run` is in memory, with one secret that has a file.
fn with_file(key: &str, group: Option<&str>) -> (Machine, Context, tempfile::TempDir) {
    let mut machine = Machine::new(sops("test_key"));
    let (source, owner) = (sops(key), "keeper".to_owned());
    let file = SecretFile { source, owner, group: group.map(str::to_owned) };
    machine.host.secrets.insert("wireguard".into(), file);
    // Nobody but root gives files away.
    let (user, own) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let passwd = format!("keeper:x:{user}:{own}::/:/bin/sh\n");
    machine.write("passwd", passwd.as_bytes(), 0o644);
    machine.write("group", format!("readers:x:{own}:\n").as_bytes(), 0o644);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let context = Context { runtime: memory.path().to_owned(), ..machine.context() };
    (machine, context, memory)
}

/// Converges the secrets; whether all agree, and what was told.
fn converged(context: &Context) -> (bool, String) {
    let mut events = Vec::new();
    let mut sink = |event: &bedplate_events::Event| events.push(format!("{event:?}"));
    let done = compared::prepare(Secrets, context).perform(context, &Reporter::to(&mut sink));
    (done, events.join("\n"))
}

#[test]
fn t19_a_file_in_memory_holds_the_secret_for_its_owner_and_nobody_else() {
    for (group, mode) in [(None, 0o400), (Some("readers"), 0o440)] {
        let (_machine, context, memory) = with_file("nested/test/file", group);
        let path = memory.path().join("secrets/wireguard");
        let (done, told) = converged(&context);
        assert!(done && !told.contains("another value"), "{told}");
        assert_eq!(fs::read(&path).unwrap(), b"another value");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        let directory = fs::metadata(memory.path().join("secrets")).unwrap();
        assert_eq!(directory.permissions().mode() & 0o777, 0o711);
        let actions = |context: &Context| -> Vec<String> {
            let observed = Secrets.observe(context).unwrap();
            let resources = Secrets::diff(&context.intent, &observed);
            resources.iter().flat_map(|one| one.actions.iter().map(ToString::to_string)).collect()
        };
        assert!(actions(&context).is_empty(), "a second time changes nothing");
        // Somebody opened it to everybody.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(actions(&context).len(), 1);
        assert!(converged(&context).0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        // What host.toml no longer names does not linger.
        let mut without = context.clone();
        without.intent.secrets.clear();
        assert_eq!(actions(&without), ["remove the secret wireguard from memory"]);
        assert!(converged(&without).0 && !path.exists());
    }
}

#[test]
fn t19_a_secret_is_not_written_to_a_disk_nor_for_a_user_who_is_not_there() {
    let (machine, context, _memory) = with_file("test_key", Some("nobody-knows"));
    let (done, told) = converged(&context);
    assert!(!done && told.contains("there is no group `nobody-knows`"), "{told}");
    let (_other, mut context, _memory) = with_file("test_key", None);
    // Where tests keep things when nothing else is said; a machine may have it in memory too.
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    context.runtime = disk.path().to_owned();
    let (done, told) = converged(&context);
    assert!(!done && told.contains("does not lie in memory"), "{told}");
    assert!(!disk.path().join("secrets/wireguard").exists());
    drop(machine);
}

#[test]
fn a_machine_is_handed_over_once_every_secret_has_opened() {
    let hand_over = |machine: &mut Machine| {
        // None is looked at on the machine that runs this.
        machine.host.network.bridges.clear();
        let mut events = Vec::new();
        let mut sink = |event: &bedplate_events::Event| events.push(format!("{event:?}"));
        let done = handoff::hand_over(&machine.context(), &Reporter::to(&mut sink));
        (done, events.join("\n"))
    };
    let mut machine = Machine::new(sops("nowhere"));
    let state = machine.context().state;
    let (done, told) = hand_over(&mut machine);
    assert!(!done && !handoff::is_done(&state), "{told}");
    assert!(told.contains("it has no value `nowhere`"), "{told}");
    assert!(told.contains("not handed over: a secret does not open"), "{told}");
    assert!(handoff::compared(&machine.context()).is_some());
    assert!(handoff::expect_done(&state).is_err());

    for backup in machine.host.backups.values_mut() {
        backup.password = sops("test_key");
    }
    assert_eq!(hand_over(&mut machine), (true, String::new()));
    assert!(handoff::expect_done(&state).is_ok());
    assert!(handoff::is_done(&state) && handoff::compared(&machine.context()).is_none());
}

/// A password that goes with the OS disk is no password of a backup.
#[test]
fn t41_a_password_that_this_machine_alone_opens_is_told_and_stops_nothing() {
    let machine = Machine::new(SecretReference::Age("restic.age".into()));
    let own = ssh::identity(&Secret::new(KEY.into())).unwrap().recipient();
    let keys = include_bytes!("../../../leaf/secrets/tests/fixtures/age-keys.txt").to_vec();
    let admin = ssh::identities(&Secret::new(keys)).unwrap().remove(0).recipient();
    let wants = |recipients: &[bedplate_secrets::ssh::Recipient]| {
        let file = age_file::seal(&Secret::new(b"password".to_vec()), recipients).unwrap();
        machine.write("nixos/nix/hosts/hypervisor/restic.age", &file, 0o644);
        let context = machine.context();
        assert!(converged(&context).0, "it opens, and backups are made");
        let observed = Secrets.observe(&context).unwrap();
        let [resource] = &Secrets::diff(&context.intent, &observed)[..] else { panic!() };
        resource.wants.join(" ")
    };
    assert!(wants(std::slice::from_ref(&own)).contains("this machine's key alone"));
    // It is a warning: the machine is handed over, and its backups are made.
    let mut told = Vec::new();
    let mut sink = |event: &bedplate_events::Event| told.push(format!("{event:?}"));
    let done = handoff::hand_over(&machine.context(), &Reporter::to(&mut sink));
    assert!(done, "{told:?}");
    assert!(handoff::expect_done(&machine.context().state).is_ok());
    assert_eq!(wants(&[own, admin]), "");
}
