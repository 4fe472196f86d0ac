//! A medium that says nothing but whose ssh keys it lets in; a machine that is installed over them,
//! by the plan that was made on the workstation, with its repository on a stick beside it. Run by
//! name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bedplate_events::{Event, EventKind};
use bedplate_keystick as keystick;
use bedplate_model::facts::Facts;
use bedplate_model::plan::Plan;
use bedplate_qemu_harness::disk_image::{self, sha256_of};
use bedplate_qemu_harness::machine::{Disk, Machine};
use bedplate_qemu_harness::pace::Pace;
use bedplate_qemu_harness::running::Running;
use bedplate_qemu_harness::ssh::{Key, Ssh};
use bedplate_tests::enrolment::machine::{self, REMOTE};
use bedplate_tests::enrolment::workstation::Workstation;
use bedplate_tests::medium::Workspace;
use bedplate_tests::seed::{self, KEY, STICK};
use bedplate_tools::secret::Secret;
use toml_edit::{DocumentMut, value};

const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long systemd may take until it has nothing left to start.
const SETTLED_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Role of the stick with the repository.
const INFRA: &str = "infra";
/// What stands on it.
const BUNDLE: &str = "infra.bundle";

/// The workstation, the medium and the machine's disks.
struct Story {
    directory: PathBuf,
    workstation: Workstation,
    medium: PathBuf,
    disks: Vec<Disk>,
    key: Key,
    port: u16,
    document: PathBuf,
}

impl Story {
    fn begin(directory: &Path) -> Self {
        let workspace = Workspace::own();
        let medium = directory.join("bedplate.iso");
        workspace.build_medium(&medium, &mut |stage| println!("medium: {stage}")).unwrap();
        let binaries = workspace.root.join("target/release");
        let workstation = Workstation::new(&directory.join("workstation"), &binaries).unwrap();
        let key = Key::in_directory(directory).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let disks = machine::disks(directory);
        let document = directory.join("host.toml");
        fs::write(&document, host_toml(&disks, &key.public)).unwrap();
        let directory = directory.to_owned();
        Self { directory, workstation, medium, disks, key, port, document }
    }

    /// What `bedplate` prints; any status but 0 is a failure.
    fn bedplate(&self, arguments: &[&str]) -> String {
        let said = self.workstation.bedplate(arguments).unwrap();
        assert_eq!(said.status, 0, "{arguments:?}: {} {}", said.stdout, said.stderr);
        said.stdout
    }

    /// The owner's repository, without the host; its newest commit.
    fn make_repository(&self) -> String {
        let [place, medium] =
            [&self.workstation.repository(), &self.medium].map(|path| shown(path));
        self.bedplate(&["init", "--name", "cellar", &place, "--medium", &medium]);
        let git = |arguments: &[&str]| self.workstation.git(arguments).unwrap();
        git(&["init", "-q", "-b", "main"]);
        git(&["add", "--all"]);
        git(&["commit", "-q", "-m", "Begin"]);
        git(&["bundle", "create", &shown(&self.directory.join(BUNDLE)), "main"]);
        git(&["rev-parse", "HEAD"])
    }

    /// Blank disks, an empty key stick, and a stick with the repository.
    fn make_disks(&self) -> Disk {
        for disk in self.disks.iter().filter(|disk| disk.role != KEY) {
            disk_image::create(disk).unwrap();
        }
        let key = self.disks.iter().find(|disk| disk.role == KEY).unwrap();
        stick(key, STICK, keystick::layout::LABEL, &[]);
        let file = self.directory.join("infra.img");
        let infra = Disk { role: INFRA.into(), serial: "ENINFRA0001".into(), file, ..key.clone() };
        let bundle = Secret::new(fs::read(self.directory.join(BUNDLE)).unwrap());
        stick(&infra, "1F2A-0001", "INFRA", &[(BUNDLE.to_owned(), bundle)]);
        infra
    }

    fn start(&self, machine: Machine) -> Running {
        machine.start(&self.directory, Some(Arc::new(|line: &str| println!("{line}")))).unwrap()
    }

    /// The arguments that lead to the machine, as its screen shows them but for the address: it is
    /// reached by a forwarded port.
    fn target(&self, running: &Running) -> Vec<String> {
        running.wait_for_text(&["bedplate install --target root@"], LIMIT).unwrap();
        running.wait_for_text(&["host.toml"], LIMIT).unwrap();
        let console = running.console();
        let (_, after) = console.rsplit_once("--host-key ").unwrap();
        let fingerprint = after.split_whitespace().next().unwrap();
        assert!(fingerprint.starts_with("SHA256:"), "{console}");
        let (port, key) = (self.port.to_string(), shown(&self.key.file));
        ["--target", "root@127.0.0.1", "--port", &port, "--host-key", fingerprint]
            .into_iter()
            .chain(["--identity", &key])
            .map(str::to_owned)
            .collect()
    }

    /// The machine says what it is, the plan is made here, and it installs by that plan's hash.
    fn install(&self, medium_and_infra: Vec<Disk>) -> (Vec<Event>, Vec<Event>) {
        let disks = [self.disks.clone(), medium_and_infra].concat();
        let running = self.start(machine::machine(disks, self.port));
        let target = self.target(&running);
        let with = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).chain(target.clone()).collect()
        };
        let run = |arguments: Vec<String>| {
            self.bedplate(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let inventory = run(with(&["inventory", "--json"]));
        let facts: Facts = serde_json::from_str(&inventory).unwrap();
        assert!(facts.disks.len() >= self.disks.len() + 2, "{inventory}");
        let (path, document) = (self.directory.join("inventory.json"), shown(&self.document));
        fs::write(&path, &inventory).unwrap();
        let plan = self.bedplate(&["plan", &document, "--inventory", &shown(&path), "--json"]);
        let plan: Plan = serde_json::from_str(&plan).unwrap();
        let events = run(with(&["install", &document, "--json", "--expect-plan", &plan.hash]));
        let events = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let end = running.wait_for_end(LIMIT).unwrap();
        assert_eq!(end.as_deref(), Some("guest-shutdown"), "{}", running.tail());
        (events, running.events())
    }

    /// Boots what was installed and asks it: each line is a command's output.
    fn ask(&self, questions: &[&[&str]]) -> Vec<String> {
        let running = self.start(machine::machine(self.disks.clone(), self.port));
        let ssh = Ssh::new(&self.key, self.port).unwrap();
        ssh.wait(LIMIT, &running).unwrap();
        let ask = |argv: &&[&str]| {
            let answer = ssh.run(argv).unwrap();
            println!("{argv:?}: {answer:?}");
            answer.stdout.trim().to_owned()
        };
        let answers = questions.iter().map(ask).collect();
        running.press_power().unwrap();
        running.wait_for_end(Duration::from_secs(150)).unwrap();
        answers
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The attic without secrets, whose repository is on a volume.
fn host_toml(disks: &[Disk], ssh_key: &str) -> String {
    let mut document: DocumentMut = machine::host_toml(disks, ssh_key).parse().unwrap();
    document.remove("secrets");
    document["flake"]["source"]["volume"]["label"] = value("INFRA");
    document["flake"]["source"]["volume"]["path"] = value(BUNDLE);
    bedplate_tests::answers::parse(&document.to_string()).unwrap();
    document.to_string()
}

fn stick(disk: &Disk, id: &str, label: &str, files: &[(String, Secret)]) {
    let mut options = File::options();
    let mut image =
        options.read(true).write(true).create(true).truncate(true).open(&disk.file).unwrap();
    image.set_len(disk.size).unwrap();
    let volume = keystick::Volume { id, label, sector_size: 512 };
    keystick::make(&mut image, &volume, files).unwrap();
}

#[test]
fn a_waiting_machine_is_installed_over_ssh_and_enrolled_from_a_volume() {
    let directory = tempfile::Builder::new().prefix("bedplate-over-ssh-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let story = Story::begin(directory.path());
    let keys = shown(&directory.path().join("ssh-key.pub"));
    story.bedplate(&["personalize", &shown(&story.medium), "--authorized-keys", &keys]);
    let commit = story.make_repository();
    let infra = story.make_disks();
    let before = sha256_of(&infra.file).unwrap();
    let medium = seed::medium(&story.medium, story.medium.metadata().unwrap().len());

    let (shown, told) = story.install(vec![infra.clone(), medium]);
    let last = shown.last().map(|event| &event.kind);
    assert!(matches!(last, Some(EventKind::PlanDone { success: true, .. })), "{last:?}");
    // The workstation saw what the machine told since it no longer waits, every event of it.
    let begun = told.iter().position(|event| Some(event) == shown.first()).unwrap();
    assert_eq!(shown, told[begun..][..shown.len()]);
    let fetched = shown.iter().any(
        |event| matches!(&event.kind, EventKind::StepDone { step, .. } if step == "fetch-repository"),
    );
    assert!(fetched, "the repository was not fetched");
    assert_eq!(sha256_of(&infra.file).unwrap(), before, "the volume was written to");

    let git = |words: &[&'static str]| [&["git", "-C", "/etc/nixos"], words].concat();
    let patience = Pace::known().seconds(SETTLED_LIMIT);
    let answers = story.ask(&[
        &["timeout", &patience, "systemctl", "is-system-running", "--wait"],
        &["hostname"],
        &git(&["rev-parse", "HEAD^"]),
        &git(&["remote", "get-url", "origin"]),
        &git(&["status", "--porcelain"]),
    ]);
    assert_eq!(answers, ["running", "attic", commit.as_str(), REMOTE, ""]);
}
