use std::path::PathBuf;
use std::process::Command;

use bedplate_model::host::SecretReference;
use bedplate_tools::command::CommandExt as _;

use super::super::ssh::MEMORY;
use super::super::stand_in::{HOST_KEY, REMOTE, Remote, enrolment};
use super::*;

/// A remote, a stick with the key, and a machine with a commit.
struct Fixture {
    remote: Remote,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { remote: Remote::new() };
        fixture.git(&["init", "-q", "-b", "main", "."]);
        fixture.commit("Enrol box");
        fixture
    }

    fn at(&self, name: &str) -> PathBuf {
        self.remote.at(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        self.remote.write(name, text, mode);
    }

    fn read(&self, name: &str) -> String {
        self.remote.read(name)
    }

    fn git(&self, words: &[&str]) -> String {
        self.remote.git("nixos", ["box", "bedplate@box"], words)
    }

    fn commit(&self, message: &str) {
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// The branch as the remote has it.
    fn branch(&self) -> Option<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.at("infra.git")).args([
            "rev-parse",
            "-q",
            "--verify",
            "bedplate/box",
        ]);
        git.read().ok().map(|text| text.trim().to_owned())
    }

    fn push(&self, with: &Push) -> Result<String, StepError> {
        let (repository, stick, ssh) = (self.at("nixos"), self.at("stick"), self.at("ssh"));
        let enrolment = enrolment(&repository, None, "{}");
        let ssh = ssh.display().to_string();
        let pauses = [Duration::from_millis(1); 2];
        Way { remote: REMOTE, with, sticks: &[&stick], ssh: &ssh, pauses: &pauses }.push(&enrolment)
    }
}

fn with_key(path: &str) -> Push {
    let host_key = format!("{HOST_KEY} git.example.org");
    Push { key: SecretReference::Stick(path.into()), host_key }
}

#[test]
fn f6_the_branch_arrives_once_the_network_is_there_and_a_second_push_changes_nothing() {
    let fixture = Fixture::new();
    fixture.write("absent", "once\ntwice\n", 0o644);
    let with = with_key("bedplate/push-key");
    let words = fixture.push(&with).unwrap();
    assert_eq!(
        words,
        "the commit of box is on git@git.example.org:me/infra.git, to be merged: branch bedplate/box"
    );
    let head = fixture.git(&["rev-parse", "HEAD"]);
    assert_eq!(fixture.branch(), Some(head.clone()));
    assert_eq!(fixture.read("argv").lines().count(), 3, "{}", fixture.read("argv"));
    fixture.push(&with).unwrap();
    assert_eq!(fixture.branch(), Some(head));
    assert_eq!(fixture.git(&["remote"]), "", "the clone's remotes are not touched");
}

#[test]
fn f6_without_a_network_the_push_fails_after_its_tries_and_says_why() {
    let fixture = Fixture::new();
    fixture.write("absent", "1\n2\n3\n4\n", 0o644);
    let error = fixture.push(&with_key("bedplate/push-key")).unwrap_err();
    assert_eq!(error.to_string(), format!("the commit of box was not pushed to {REMOTE}"));
    assert!(error.causes().join(": ").contains("Network is unreachable"), "{:?}", error.causes());
    assert_eq!((fixture.read("argv").lines().count(), fixture.branch()), (3, None));
}

#[test]
fn t19_ssh_is_given_a_path_and_the_one_host_key_it_may_see() {
    let fixture = Fixture::new();
    fixture.push(&with_key("bedplate/push-key")).unwrap();
    let config = fixture.read("config");
    let place = config.lines().find_map(|line| line.strip_prefix("IdentityFile ")).unwrap();
    let place = Path::new(place).parent().unwrap();
    assert!(place.starts_with(MEMORY) && !place.exists(), "the key lingers in {}", place.display());
    let shown = |text: String| text.replace(&place.display().to_string(), "PLACE");
    let told = ["argv", "modes", "known_hosts", "config"].map(|name| shown(fixture.read(name)));
    insta::assert_snapshot!(told.join("--\n"));
    for name in ["argv", "environment"] {
        assert!(!fixture.read(name).contains("nobody's"), "{name}");
    }
}

#[test]
fn a_branch_with_other_commits_is_left_as_it_is() {
    let fixture = Fixture::new();
    let with = with_key("bedplate/push-key");
    fixture.push(&with).unwrap();
    let before = fixture.branch();
    fixture.git(&["commit", "-q", "--allow-empty", "--amend", "-m", "Enrol box anew"]);
    let error = fixture.push(&with).unwrap_err();
    assert!(error.causes().join(": ").contains("rejected"), "{:?}", error.causes());
    assert_eq!(fixture.branch(), before);
}

#[test]
fn a_key_that_is_not_on_the_stick_is_named() {
    let fixture = Fixture::new();
    let error = fixture.push(&with_key("bedplate/other-key")).unwrap_err();
    assert_eq!(error.causes(), ["no key stick has `bedplate/other-key`"]);
    assert!(!fixture.at("argv").exists());
}
