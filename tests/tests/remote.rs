//! `bedplate install` and `discover --inventory` against the real installer behind a real sshd with
//! the live system's own configuration. The machine is an inventory of disks that are not there:
//! everything up to the first step runs, which finds no disk and stops. Run by name: it wants root
//! and sshd, and for `discover` a network interface beside the loopback one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bedplate_discovery::{Activity, Announcement, Summary};
use bedplate_events::{Event, EventKind};
use bedplate_formats::answers::Header;
use bedplate_image_builder::answers;
use bedplate_image_builder::identity::with_own_id;
use bedplate_model::facts::Facts;
use bedplate_qemu_harness::pace::{self, Patience};
use bedplate_tests::medium::Workspace;
use bedplate_tests::programs;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::ssh_keygen;
use serde_json::Value;
use tempfile::TempDir;

/// How long a server may take until it listens, and an installation that was left alone until it ends.
const LIMIT: Duration = Duration::from_secs(60);
const SSHD: &str = "/usr/sbin/sshd";

/// When a pipe of this name is there, a run reads its inventory from it, and so is held up.
const HELD: &str = "held-inventory";

/// What is told of a host key that is meant and that nobody showed.
const MISSED: &str = "no inventory came from a machine with the host key";

/// The machine: sshd, the installer, and what of a boot it keeps.
struct Live {
    place: TempDir,
    sshd: Child,
    port: u16,
    fingerprint: String,
    programs: PathBuf,
}

impl Live {
    fn start() -> Self {
        Self::start_at("127.0.0.1")
    }

    /// A machine whose ssh server listens at this address.
    fn start_at(address: &str) -> Self {
        assert!(Path::new(SSHD).exists(), "NOT TESTED: no {SSHD}; install openssh-server");
        assert!(is_root(), "NOT TESTED: the installer wants root");
        let workspace = Workspace::own();
        let programs = programs::build().unwrap();
        let place = tempfile::tempdir().unwrap();
        let boot = place.path().join("run");
        for key in ["own", "stranger"] {
            ssh_keygen::make(&place.path().join(key), key).unwrap();
        }
        medium(&workspace, &boot, &fs::read_to_string(place.path().join("own.pub")).unwrap());
        let mut admit = Command::new(programs.join("bedplate-installer"));
        admit.arg("--directory").arg(&boot).arg("admit");
        assert!(admit.status().unwrap().success());
        let ssh = boot.join("ssh");
        let fingerprint = fs::read_to_string(ssh.join("fingerprint")).unwrap().trim().to_owned();
        let inventory = workspace.root.join("profiles/hypervisor/inventory.json");
        command_of_the_live_system(place.path(), &programs, &boot, &inventory);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let sshd = server(&workspace, place.path(), &ssh, (address, port));
        Self { place, sshd, port, fingerprint, programs }
    }

    fn boot(&self) -> PathBuf {
        self.place.path().join("run")
    }

    /// Ends every connection, as a cable that is pulled does.
    fn cut(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.sshd.id());
        for child in fs::read_to_string(children).unwrap().split_whitespace() {
            assert!(Command::new("kill").args(["-KILL", child]).status().unwrap().success());
        }
    }

    /// A host file of its own, whose disks are those of the inventory.
    fn document(&self) -> PathBuf {
        let text = with_own_id(&Workspace::own().profile().unwrap()).unwrap().unwrap().0;
        let path = self.place.path().join("host.toml");
        // Nothing is installed that nobody could log in to.
        let key =
            format!("ssh_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}\"]", "A".repeat(43));
        fs::write(&path, text.replace("ssh_keys = []", &key)).unwrap();
        path
    }

    fn install(&self, key: &str, host: &Path, more: &[&str]) -> Command {
        let mut command = self.connected(key, &["install"]);
        command.arg(host).args(more);
        command
    }

    /// Exit code, standard error and what is told of each machine of these names, once they are found.
    fn discover(
        &self,
        key: &str,
        host_keys: &[&str],
        names: &[&str],
    ) -> (Option<i32>, String, Vec<Value>) {
        let mut patience = Patience::new(LIMIT);
        loop {
            let mut command = Command::new(self.programs.join("bedplate"));
            command.args(["discover", "--json", "--inventory"]).arg(self.kept());
            command.arg("--identity").arg(self.place.path().join(key));
            command.args(host_keys.iter().flat_map(|key| ["--host-key", key]));
            let output = command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).output().unwrap();
            let told: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
            // A test of others may announce a machine of its own meanwhile.
            let failed =
                told.iter().any(|one| one.get("error").is_some()) || said(&output).contains(MISSED);
            assert_eq!(output.status.code(), Some(i32::from(failed)), "{}", said(&output));
            let ours = |one: &Value| names.iter().any(|name| one["name"] == *name);
            let ours: Vec<Value> = told.into_iter().filter(ours).collect();
            if ours.len() == names.len() {
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                return (output.status.code(), errors, ours);
            }
            assert!(patience.goes_on(0), "{}, {ours:?}", patience.spent());
        }
    }

    /// Where `discover` keeps inventories.
    fn kept(&self) -> PathBuf {
        self.place.path().join("inventories")
    }

    fn connected(&self, key: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("bedplate"));
        command.args(words).args(["--target", "root@127.0.0.1"]);
        command.args(["--port", &self.port.to_string(), "--host-key", &self.fingerprint]);
        command.arg("--identity").arg(self.place.path().join(key));
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        command
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self")
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// What the medium brings: the ssh keys of its owner, and a repository.
fn medium(workspace: &Workspace, boot: &Path, keys: &str) {
    let live = boot.join("medium/live");
    fs::create_dir_all(&live).unwrap();
    let payload = answers::pack_keys(keys).unwrap();
    let header = Header::for_payload(&payload, payload.len() as u64).unwrap().encode();
    fs::write(live.join("answers.bin"), [header, payload].concat()).unwrap();
    let flake = answers::embedded_flake(&workspace.root.join("nix/embedded"), "{}").unwrap();
    fs::write(live.join("flake.tar"), answers::pack_flake(&flake).unwrap()).unwrap();
}

/// `bedplate-installer` as the login finds it: the real one, shown another machine.
fn command_of_the_live_system(place: &Path, programs: &Path, boot: &Path, inventory: &Path) {
    let bin = place.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nfacts={}\ntest \"$1\" = receive && test -p {held} && facts={held}\n\
         exec {} --directory {} --facts \"$facts\" \"$@\"\n",
        inventory.display(),
        programs.join("bedplate-installer").display(),
        boot.display(),
        held = place.join(HELD).display(),
    );
    fs::write(bin.join("bedplate-installer"), script).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.join("bedplate-installer"), executable).unwrap();
}

/// sshd with the configuration that the live system has, in another place.
fn server(workspace: &Workspace, place: &Path, ssh: &Path, (address, port): (&str, u16)) -> Child {
    let shipped = workspace.root.join("image-builder/live/etc/ssh/bedplate_live.conf");
    let shipped = fs::read_to_string(shipped).unwrap();
    let here = shipped.replace("/run/bedplate/ssh", ssh.to_str().unwrap());
    assert_ne!(shipped, here);
    let here = here.replace("SetEnv PATH=", &format!("SetEnv PATH={}/bin:", place.display()));
    // The way to a temporary directory is open to others, which the live system's is not.
    let more = format!("\nPort {port}\nListenAddress {address}\nStrictModes no\nPidFile none\n");
    let configuration = place.join("sshd.conf");
    fs::write(&configuration, here + &more).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f"]).arg(&configuration);
    command.stderr(fs::File::create(place.join("sshd.log")).unwrap());
    let child = command.spawn().unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
    let listens = pace::ask(LIMIT, Duration::from_millis(50), connect);
    listens.unwrap_or_else(|spent| panic!("{spent}, sshd does not listen"));
    child
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn events(boot: &Path) -> Vec<EventKind> {
    let text = fs::read_to_string(boot.join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().kind).collect()
}

#[test]
fn a_machine_is_installed_over_ssh_by_the_plan_that_was_agreed_to() {
    let live = Live::start();
    let host = live.document();

    // A stranger's key, another machine's host key, nobody to ask: nothing is sent.
    let output = live.install("stranger", &host, &["--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("Permission denied (publickey)"), "{}", said(&output));
    let mut other = Command::new(live.programs.join("bedplate"));
    other.arg("install").arg(&host).args(["--target", "root@127.0.0.1", "--yes"]);
    other.args(["--port", &live.port.to_string(), "--host-key", "SHA256:other"]);
    let output = other.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("it is another machine"), "{}", said(&output));
    let output = live.install("own", &host, &[]).output().unwrap();
    assert!(said(&output).contains("nobody can be asked here"), "{}", said(&output));
    let output = live.install("own", &host, &["--expect-plan", "00"]).output().unwrap();
    assert!(said(&output).contains("nothing was sent"), "{}", said(&output));
    assert!(!live.boot().join("events.jsonl").exists());

    // The inventory comes by the same way.
    let mut inventory = live.connected("own", &["inventory", "--json"]);
    let output = inventory.output().unwrap();
    let theirs: Facts = serde_json::from_slice(&output.stdout).unwrap();
    let shown = fs::read(Workspace::own().root.join("profiles/hypervisor/inventory.json")).unwrap();
    assert_eq!(theirs, serde_json::from_slice(&shown).unwrap());

    // Agreed: the plan is shown here, the machine makes the same one and begins.
    let output = live.install("own", &host, &["--yes"]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Plan: ") && text.contains("Bedplate: install hypervisor"), "{text}");
    assert!(text.contains("FAILED check-disks"), "{text}");
}

#[test]
fn machines_that_are_found_are_asked_for_their_inventories() {
    let live = Live::start_at("0.0.0.0");
    let waiting = Summary {
        activity: Activity::Waiting,
        memory_bytes: None,
        disks: Vec::new(),
        more_disks: 0,
    };
    let busy = Summary { activity: Activity::Busy, ..waiting.clone() };
    // The inventory has a network interface whose address ends so, and none for the others.
    let names = ["bedplate-010203.local", "bedplate-0b5e55.local", "bedplate-f043ed.local"];
    let summaries = [&waiting, &busy, &waiting];
    let announcements: Vec<Announcement> = std::iter::zip(names, summaries)
        .map(|(name, summary)| {
            let label = name.strip_suffix(".local").unwrap();
            Announcement::begin(label, live.port, summary).unwrap()
        })
        .collect();

    // Another machine's host key, a stranger's key: told, and nothing is kept.
    let strangers = ["SHA256:another", "SHA256:other"];
    let (_, errors, told) = live.discover("own", &strangers, &names);
    assert!(errors.contains(&format!("{MISSED} SHA256:another, SHA256:other;")), "{errors}");
    assert!(errors.contains("not SHA256:another or SHA256:other: it is another"), "{errors}");
    assert!(told[0]["error"].as_str().unwrap().contains("it is another machine"), "{told:?}");
    let (_, errors, told) =
        live.discover("stranger", &["SHA256:another", &live.fingerprint], &names);
    assert!(errors.contains("lets none of your ssh keys in"), "{errors}");
    assert!(told[0]["error"].as_str().unwrap().contains("Permission denied (publickey)"));
    assert_eq!(fs::read_dir(live.kept()).unwrap().count(), 0);

    // One is what it says, one is busy, and one announcement leads to another machine.
    let (code, errors, told) = live.discover("own", &[&live.fingerprint], &names);
    assert_eq!(code, Some(1));
    assert!(!errors.contains(MISSED), "{errors}");
    assert!(told[0].get("error").is_none(), "{told:?}");
    assert_eq!(told[0]["host_key"], live.fingerprint);
    assert!(told[1].get("error").is_none() && told[1].get("inventory").is_none(), "{told:?}");
    assert!(told[2].get("inventory").is_none(), "{told:?}");
    assert!(errors.contains("leads to another machine"), "{errors}");
    let names: Vec<_> =
        fs::read_dir(live.kept()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(names, ["bedplate-010203.json"]);
    let kept = fs::read(live.kept().join("bedplate-010203.json")).unwrap();
    let inventory = live.connected("own", &["inventory", "--json"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept), String::from_utf8_lossy(&inventory.stdout));
    let kept: Facts = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept, serde_json::from_value(told[0]["inventory"].clone()).unwrap());
    drop(announcements);
}

#[test]
fn what_is_sent_is_installed_by_the_same_run_and_its_events_come_back() {
    let live = Live::start();
    let host = live.document();
    let mut show = live.install("own", &host, &["--yes", "--json"]);
    let output = show.output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let kinds = events(&live.boot());
    let started = kinds.iter().any(|kind| matches!(kind, EventKind::PlanStarted { .. }));
    let failed = kinds.iter().find_map(|kind| match kind {
        EventKind::Failed { step, .. } => step.clone(),
        _ => None,
    });
    assert!(started, "{kinds:?}");
    assert_eq!(failed.as_deref(), Some("check-disks"), "{kinds:?}");
    let shown: Vec<EventKind> = BufReader::new(output.stdout.as_slice())
        .lines()
        .map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap().kind)
        .collect();
    let last = kinds.iter().position(|kind| matches!(kind, EventKind::PlanDone { .. }));
    assert_eq!(shown, kinds[..=last.unwrap()], "{text}");
}

#[test]
fn a_run_that_is_under_way_is_watched_and_nothing_is_begun_twice() {
    let live = Live::start();
    let host = live.document();
    // Another run: holds the lock, and has told so much.
    let boot = live.boot();
    let lock = fs::File::create(boot.join("install.lock")).unwrap();
    lock.lock().unwrap();
    let line = |kind: &str| format!("{{\"schema\":1,\"sequence\":0,\"at_ms\":0,{kind}}}\n");
    let started = line(
        "\"event\":\"plan_started\",\"title\":\"install hypervisor\",\"plan\":\"c0ffee\",\
         \"steps\":[],\"destroys\":[]",
    );
    let mut events = fs::File::create(boot.join("events.jsonl")).unwrap();
    events.write_all(started.as_bytes()).unwrap();

    let other = live.install("own", &host, &["--expect-plan", "00"]).output().unwrap();
    assert!(said(&other).contains("at something else"), "{}", said(&other));
    let mut watch = live.install("own", &host, &["--yes"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "Bedplate: install hypervisor");
    let done = line("\"event\":\"plan_done\",\"success\":true,\"milliseconds\":5");
    events.write_all(done.as_bytes()).unwrap();
    assert!(lines.any(|line| line.unwrap().starts_with("Finished in")));
    assert_eq!(watch.wait().unwrap().code(), Some(0));

    // The installer is gone without its last word: no connection was lost.
    fs::write(boot.join("events.jsonl"), &started).unwrap();
    let mut watch = live.install("own", &host, &["--yes"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "Bedplate: install hypervisor");
    drop(lock);
    let output = watch.wait_with_output().unwrap();
    assert!(said(&output).contains("ended without a word"), "{}", said(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn t06_the_machine_refuses_any_plan_but_the_one_that_was_agreed_to() {
    let live = Live::start();
    let document = fs::read_to_string(live.document()).unwrap();
    let flake = fs::read(live.boot().join("medium/live/flake.tar")).unwrap();
    let repository = answers::Repository::Files(answers::unpack_flake(&flake).unwrap());
    let sent = answers::for_travel(&answers::Answers { host: document, repository }).unwrap();
    let mut receive = Command::new(live.place.path().join("bin/bedplate-installer"));
    let another = "c0ffee00".repeat(8);
    receive.args(["receive", "--expect-plan", &another]);
    // A passphrase that was sent though none is asked for does not stay.
    let told = receive
        .read_with_input(
            &[&sent[..], &bedplate_formats::remote::frame(b"correct horse battery")].concat(),
        )
        .unwrap();
    assert!(live.boot().join("sent").exists() && !live.boot().join("sent-recovery").exists());
    let kinds: Vec<EventKind> =
        told.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().kind).collect();
    let refused = |kind: &EventKind| matches!(kind, EventKind::Failed { message, .. } if message.contains("asks for c0ffee00c0ffee"));
    assert!(kinds.iter().any(refused), "{kinds:?}");
    assert!(!kinds.iter().any(|kind| matches!(kind, EventKind::PlanStarted { .. })), "{kinds:?}");
}

#[test]
fn f6_a_connection_that_drops_ends_no_installation() {
    let live = Live::start();
    let host = live.document();
    let held = live.place.path().join(HELD);
    assert!(Command::new("mkfifo").arg(&held).status().unwrap().success());
    let mut watch = live.install("own", &host, &["--yes"]);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever opens a pipe for writing waits until somebody reads it: the run has begun.
    let mut inventory = fs::OpenOptions::new().write(true).open(&held).unwrap();
    live.cut();
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("same command again to watch it"), "{}", said(&output));

    // Nobody is connected, and it goes on.
    fs::remove_file(&held).unwrap();
    let text = fs::read(Workspace::own().root.join("profiles/hypervisor/inventory.json")).unwrap();
    inventory.write_all(&text).unwrap();
    drop(inventory);
    let done = |kind: &EventKind| matches!(kind, EventKind::PlanDone { success: false, .. });
    let ended = || events(&live.boot()).iter().any(done).then_some(());
    let ended = pace::ask(LIMIT, Duration::from_millis(100), ended);
    ended.unwrap_or_else(|spent| panic!("{spent}, {:?}", events(&live.boot())));
    let started = |kind: &EventKind| matches!(kind, EventKind::PlanStarted { .. });
    assert!(events(&live.boot()).iter().any(started));
}
