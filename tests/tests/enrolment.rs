//! An owner's repository: made and prepared on the workstation, put onto the medium, enrolled by it;
//! its secrets opened at the first boot; the host's commit fetched back. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image::{self, sha256_of};
use bedplate_qemu_harness::machine::{Disk, Machine};
use bedplate_qemu_harness::running::Running;
use bedplate_qemu_harness::ssh::{Key, Ssh};
use bedplate_tests::claims::Verdict;
use bedplate_tests::enrolment::claims::{Claim, judge_all};
use bedplate_tests::enrolment::machine::{self, HOST};
use bedplate_tests::enrolment::probes;
use bedplate_tests::enrolment::workstation::{BUNDLE, PROGRAM, Prepared, Workstation};
use bedplate_tests::evidence::Evidence;
use bedplate_tests::medium::Workspace;
use bedplate_tests::probes::Probe;
use bedplate_tests::running_host::settled;
use bedplate_tests::seed::{self, KEY};
use bedplate_tests::table;
use sha2::{Digest as _, Sha256};

const LIMIT: Duration = Duration::from_secs(20 * 60);
const LOGIN_LIMIT: Duration = Duration::from_secs(6 * 60);
/// What the machine asks before anybody can log in.
const QUESTION: &str = "Passphrase for the ssh key of attic";

struct Attic {
    directory: PathBuf,
    workstation: Workstation,
    medium: PathBuf,
    disks: Vec<Disk>,
    key: Key,
    ssh_port: u16,
    evidence: Evidence,
}

impl Attic {
    /// The workstation, the medium, the prepared key stick.
    fn begin(directory: &Path) -> (Self, Prepared) {
        let workspace = Workspace::own();
        let medium = directory.join("bedplate.iso");
        workspace.build_medium(&medium, &mut |stage| println!("medium: {stage}")).unwrap();
        let key = Key::in_directory(directory).unwrap();
        let disks = machine::disks(directory);
        let binaries = workspace.root.join("target/release");
        let workstation = Workstation::new(&directory.join("workstation"), &binaries).unwrap();
        let document = machine::host_toml(&disks, &key.public);
        let prepared = workstation.prepare(&document, Some(&medium)).unwrap();
        workstation.personalize(&medium).unwrap();
        for disk in disks.iter().filter(|disk| disk.role != KEY) {
            disk_image::create(disk).unwrap();
        }
        let stick = disks.iter().find(|disk| disk.role == KEY).unwrap();
        workstation.make_stick(&stick.file, stick.size).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let directory = directory.to_owned();
        let evidence = Evidence::default();
        (Self { directory, workstation, medium, disks, key, ssh_port: port, evidence }, prepared)
    }

    fn start(&self, machine: Machine) -> Running {
        machine.start(&self.directory, Some(Arc::new(|line: &str| println!("{line}")))).unwrap()
    }

    /// Starts the medium and waits until the machine goes down by itself.
    fn run_medium(&mut self, name: &str) {
        let mut disks = self.disks.clone();
        disks.push(seed::medium(&self.medium, self.medium.metadata().unwrap().len()));
        let mut machine = machine::machine(disks, self.ssh_port);
        machine.networks.iter_mut().for_each(|lan| lan.forwards.clear());
        let running = self.start(machine);
        let stopped = running.wait_for_text(&["Nothing further will be written"], LIMIT);
        assert!(stopped.is_err(), "the installation stopped:\n{}", running.tail());
        let end = running.wait_for_end(LIMIT).unwrap().unwrap_or_default();
        let events: Result<Vec<String>, _> =
            running.events().iter().map(serde_json::to_string).collect();
        self.evidence.note(&format!("{name}.end"), end);
        self.evidence.note(&format!("{name}.events"), events.unwrap().join("\n"));
        self.evidence.note(&format!("{name}.console"), running.console());
    }

    fn stick(&self) -> &Path {
        &self.disks.iter().find(|disk| disk.role == KEY).unwrap().file
    }

    fn of_stick(&self, path: &str) -> Vec<u8> {
        let found = Workstation::file_of_stick(self.stick(), path).unwrap();
        found.unwrap_or_else(|| panic!("the key stick has no {path}")).expose().to_vec()
    }

    /// Boots what was installed, with the passphrase of the prepared key when it is asked for.
    fn boot(&mut self, passphrase: Option<&str>, questions: &[Probe]) {
        let mut running = self.start(machine::machine(self.disks.clone(), self.ssh_port));
        if let Some(passphrase) = passphrase {
            running.wait_for_text(&[QUESTION], LOGIN_LIMIT).unwrap();
            // systemd shows the question first and turns the echo off then; nobody types that fast.
            std::thread::sleep(Duration::from_secs(2));
            running.type_line(passphrase).unwrap();
        }
        let ssh = Ssh::new(&self.key, self.ssh_port).unwrap();
        ssh.wait(LOGIN_LIMIT, &running).unwrap();
        settled(&ssh).unwrap();
        for Probe { name, argv } in questions {
            println!("asking: {name}");
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            self.evidence.put(name, ssh.run(&argv).unwrap());
        }
        if passphrase.is_some() {
            self.evidence.note("host.console", running.console());
        }
        running.press_power().unwrap();
        running.wait_for_end(Duration::from_secs(150)).unwrap();
    }

    /// What the claims compare with. The passphrase of the key is a secret too: what was typed must
    /// not be shown.
    fn expect(&mut self, prepared: &Prepared) {
        let sums = prepared.secrets.iter().map(|secret| hexadecimal(&Sha256::digest(secret)));
        self.evidence.note("expected.sha256", sums.collect::<Vec<_>>().join("\n"));
        self.evidence.note("expected.commit", prepared.commit.as_str());
        self.evidence.note("expected.public-key", prepared.public_key.as_str());
        let recovery = String::from_utf8(self.of_stick("bedplate/recovery")).unwrap();
        let mut secrets = prepared.secrets.to_vec();
        secrets.extend([prepared.passphrase.clone(), recovery.trim().to_owned()]);
        self.evidence.note("expected.secrets", secrets.join("\n"));
    }

    /// The host's commit reaches the workstation; nothing else of the repository is on the stick.
    fn fetch(&mut self, prepared: &Prepared) {
        let bundle = self.of_stick(BUNDLE);
        let fetched = self.workstation.fetch(&bundle).unwrap();
        let parent = self.workstation.git(&["rev-parse", &format!("{fetched}^")]).unwrap();
        self.evidence.note("fetched.commit", fetched);
        self.evidence.note("fetched.parent", parent);
        self.evidence.note("stick.bundle", hexadecimal(&Sha256::digest(&bundle)));
        let image = std::fs::read(self.stick()).unwrap();
        let is_there = |secret: &&String| {
            image.windows(secret.len()).any(|window| window == secret.as_bytes())
        };
        let found = prepared.secrets.iter().filter(is_there).count();
        self.evidence.note("stick.secrets", format!("{found} found"));
    }

    fn verdicts(&self) -> Vec<Verdict<Claim>> {
        let text = serde_json::to_string_pretty(&self.evidence).unwrap();
        std::fs::write(self.directory.join("evidence.json"), text).unwrap();
        judge_all(&self.evidence)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn t19_t20_t24_t26_a_prepared_host_is_enrolled_and_opens_its_secrets_at_the_first_boot() {
    let directory = tempfile::Builder::new().prefix("bedplate-enrolment-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let (mut attic, prepared) = Attic::begin(directory.path());
    attic.run_medium("install");
    attic.expect(&prepared);
    attic.fetch(&prepared);
    attic.boot(Some(&prepared.passphrase), &probes::state());
    let medium = sha256_of(&attic.medium).unwrap();
    attic.run_medium("again");
    assert_eq!(sha256_of(&attic.medium).unwrap(), medium, "the medium was written to");
    attic.boot(None, &probes::again());
    let bundle = hexadecimal(&Sha256::digest(attic.of_stick(BUNDLE)));
    attic.evidence.note("again.bundle", bundle);

    let verdicts = attic.verdicts();
    println!("{}", table::render(&verdicts));
    if !table::failed(&verdicts).is_empty() {
        panic!("claims failed; evidence: {}", directory.keep().display());
    }
}

/// The part of the story that needs no machine, with the `bedplate` of the release build.
#[test]
fn a_host_is_prepared_on_the_workstation() {
    let directory = tempfile::tempdir().unwrap();
    let binaries = Workspace::own().root.join("target/release");
    let workstation = Workstation::new(&directory.path().join("workstation"), &binaries)
        .unwrap_or_else(|failure| panic!("{} ({PROGRAM} names another)", failure.chain()));
    let disks = machine::disks(directory.path());
    let key = Key::in_directory(directory.path()).unwrap();
    let document = machine::host_toml(&disks, &key.public);
    let prepared = workstation.prepare(&document, None).unwrap();
    assert_eq!(workstation.git(&["status", "--porcelain"]).unwrap(), "");
    let tracked = workstation.git(&["ls-files", &format!("nix/hosts/{HOST}")]).unwrap();
    for name in ["host.toml", "secrets.yaml", "ssh_host_ed25519_key.pub", "wireguard.age"] {
        assert!(tracked.contains(name), "{tracked}");
    }
    let stick = directory.path().join("key.img");
    workstation.make_stick(&stick, 8 << 20).unwrap();
    let sealed = Workstation::file_of_stick(&stick, "bedplate/ssh_host_ed25519_key.age").unwrap();
    let sealed = sealed.unwrap();
    // What the machine will do at its first boot.
    let words = bedplate_tools::secret::Secret::new(prepared.passphrase.clone().into_bytes());
    let key = bedplate_secrets::age_file::open_with_passphrase(sealed.expose(), &words).unwrap();
    let identity = bedplate_secrets::ssh::identity(&key).unwrap();
    assert_eq!(
        bedplate_secrets::ssh::recipient(&prepared.public_key).unwrap(),
        identity.recipient()
    );
    let path = workstation.repository().join("nix/hosts").join(HOST);
    let age = std::fs::read(path.join("wireguard.age")).unwrap();
    let opened = bedplate_secrets::age_file::open(&age, std::slice::from_ref(&identity)).unwrap();
    assert_eq!(opened.expose(), prepared.secrets[0].as_bytes());
    let sops = std::fs::read_to_string(path.join("secrets.yaml")).unwrap();
    let opened = bedplate_secrets::sops::open(&sops, &[identity]).unwrap();
    assert_eq!(opened.value("vm/user-data").unwrap().expose(), prepared.secrets[1].as_bytes());
    for secret in &prepared.secrets {
        assert!(
            workstation.git(&["log", "-p", "--all", &format!("-S{secret}")]).unwrap().is_empty()
        );
    }
}
