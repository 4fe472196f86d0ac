//! Fetching with real git: over the stand-in for ssh, from directories, and over real TLS.

use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use bedplate_model::host::SecretReference;
use bedplate_model::plan::FoundVolume;
use bedplate_tools::command::CommandExt as _;

use super::super::BASE;
use super::super::ssh::MEMORY;
use super::super::stand_in::{HOST_KEY, REMOTE, Remote, enrolment};
use super::*;

mod https;
mod sshd;

/// A server with a repository, and a machine that enrols into what it fetches.
struct Fixture {
    remote: Remote,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { remote: Remote::new() };
        fixture.git(&["init", "-q", "-b", "main", "."]);
        fixture.remote.write("owner/flake.nix", "{ }\n", 0o644);
        fixture.remote.write("owner/nix/hosts/box/notes.txt", "mine\n", 0o644);
        fixture.publish("First");
        fixture
    }

    fn at(&self, name: &str) -> PathBuf {
        self.remote.at(name)
    }

    /// git in the owner's work tree.
    fn git(&self, words: &[&str]) -> String {
        self.remote.git("owner", ["Owner", "o@example.org"], words)
    }

    /// Commits everything of the owner's and brings it to the server.
    fn publish(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["push", "-q", self.at("infra.git").to_str().unwrap(), "HEAD:refs/heads/main"]);
    }

    /// Brings a commit to the server that git accepts from no stranger; the branch.
    fn publish_crafted(&self) -> String {
        let commit = self.git(&["cat-file", "commit", "HEAD"]).replace(" <o@example.org>", "");
        let mut hash = Command::new("git");
        hash.arg("-C").arg(self.at("infra.git"));
        hash.args(["hash-object", "-t", "commit", "--literally", "-w", "--stdin"]);
        let commit = hash.read_with_input(format!("{commit}\n").as_bytes()).unwrap();
        self.remote.write("infra.git/refs/heads/crafted", &commit, 0o644);
        "crafted".to_owned()
    }

    fn fetch(&self, branch: &str, from: &RepositoryPlace) -> Result<Outcome, StepError> {
        self.fetch_for(branch, from, None)
    }

    fn fetch_for(
        &self,
        branch: &str,
        from: &RepositoryPlace,
        platform: Option<&[u8]>,
    ) -> Result<Outcome, StepError> {
        let (stick, ssh) = (self.at("stick"), self.at("ssh"));
        Fetch {
            branch,
            from,
            sticks: &[&stick],
            ssh: ssh.to_str().unwrap(),
            pauses: &[Duration::from_millis(1); 2],
            directory: &self.at("fetched"),
            expected: Expected { host: "nix/hosts/box", platform },
        }
        .run()
    }

    /// As [`Fetch::run`] does it once the "volume" `root` is mounted; the commit that came.
    fn take(&self, root: &Path, path: Option<&str>) -> Result<String, StepError> {
        let from = over_ssh();
        let fetch = Fetch {
            branch: "main",
            from: &from,
            sticks: &[],
            ssh: "ssh",
            pauses: &[],
            directory: &self.at("fetched"),
            expected: Expected { host: "nix/hosts/box", platform: None },
        };
        fetch.put(|git| fetch.off_volume(git, root, path))?;
        let came = answers::repository(&self.at("fetched")).unwrap().unwrap();
        Ok(super::super::place::commit_of(&came).unwrap().unwrap())
    }

    fn enrol(&self, hardware: &str) -> Outcome {
        let source = answers::repository(&self.at("fetched")).unwrap();
        enrolment(&self.at("nixos"), source.as_ref(), hardware).run().unwrap()
    }

    fn on_the_machine(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.at("nixos")).args(words).read().unwrap()
    }
}

fn over_ssh() -> RepositoryPlace {
    with_key("bedplate/push-key")
}

fn with_key(path: &str) -> RepositoryPlace {
    RepositoryPlace::Ssh(SshSource {
        url: REMOTE.into(),
        key: SecretReference::Stick(path.into()),
        host_key: format!("{HOST_KEY} git.example.org"),
    })
}

/// Everything that went wrong, in one line.
fn told(error: &StepError) -> String {
    [vec![error.to_string()], error.causes()].concat().join(": ")
}

#[test]
fn what_was_fetched_is_enrolled_once_whatever_is_run_again() {
    let fixture = Fixture::new();
    for (hardware, outcome, commits) in [
        ("{}", Outcome::Done, 1),
        ("{}", Outcome::AlreadyDone, 1),
        ("{\"memory\": 1}", Outcome::Done, 2),
        ("{\"memory\": 1}", Outcome::AlreadyDone, 2),
    ] {
        fixture.fetch("main", &over_ssh()).unwrap();
        let before =
            fixture.at("nixos").exists().then(|| fixture.on_the_machine(&["rev-parse", "HEAD"]));
        assert_eq!(fixture.enrol(hardware), outcome);
        let head = fixture.on_the_machine(&["rev-parse", "HEAD"]);
        assert_eq!(before.as_ref() == Some(&head), outcome == Outcome::AlreadyDone);
        assert_eq!(
            fixture.on_the_machine(&["log", "--format=%an %s"]),
            "bedplate@box Enrol box\n".repeat(commits) + "Owner First\n"
        );
    }
    assert_eq!(fixture.on_the_machine(&["status", "--porcelain"]), "");
    assert_eq!(fixture.on_the_machine(&["branch", "--format=%(refname)"]), "refs/heads/main\n");
    let remotes = fixture.on_the_machine(&["remote", "-v"]);
    assert!(
        remotes.lines().all(|line| line.contains("git@git.example.org:me/infra.git")),
        "{remotes}"
    );
    assert!(!fixture.at("fetched/repository").exists(), "only the bundle is kept in memory");
}

#[test]
fn a_branch_that_moved_meanwhile_is_the_one_that_gets_the_commit() {
    let fixture = Fixture::new();
    fixture.fetch("main", &over_ssh()).unwrap();
    fixture.enrol("{}");
    fixture.remote.write("owner/README", "second\n", 0o644);
    fixture.publish("Second");
    fixture.fetch("main", &over_ssh()).unwrap();
    assert_eq!(fixture.enrol("{}"), Outcome::Done);
    assert_eq!(fixture.on_the_machine(&["log", "--format=%s"]), "Enrol box\nSecond\nFirst\n");
    // The owner has merged the host's commit, and the machine is installed once more.
    let machine = fixture.at("nixos");
    fixture.git(&["pull", "-q", machine.to_str().unwrap(), "main"]);
    fixture.git(&["push", "-q", fixture.at("infra.git").to_str().unwrap(), "HEAD:refs/heads/main"]);
    fixture.fetch("main", &over_ssh()).unwrap();
    fixture.enrol("{}");
    assert_eq!(fixture.enrol("{}"), Outcome::AlreadyDone);
    assert_eq!(fixture.on_the_machine(&["log", "--format=%s"]), "Enrol box\nSecond\nFirst\n");
    assert_eq!(
        fixture.on_the_machine(&["rev-parse", BASE]),
        fixture.on_the_machine(&["rev-parse", "HEAD"])
    );
}

#[test]
fn f6_a_network_that_comes_late_is_waited_for_and_none_stops_before_any_disk() {
    let fixture = Fixture::new();
    fixture.remote.write("absent", "once\ntwice\n", 0o644);
    fixture.fetch("main", &over_ssh()).unwrap();
    fixture.remote.write("absent", "1\n2\n3\n4\n", 0o644);
    let error = fixture.fetch("main", &over_ssh()).unwrap_err();
    assert!(told(&error).contains("Network is unreachable"), "{}", told(&error));
    insta::assert_snapshot!(format!("{error}\n{}", error.next.as_deref().unwrap()));
    assert!(!fixture.at("fetched/flake.bundle").exists(), "what an earlier run fetched is gone");
}

#[test]
fn t19_ssh_is_given_a_path_and_the_one_host_key_it_may_see() {
    let fixture = Fixture::new();
    fixture.fetch("main", &over_ssh()).unwrap();
    let config = fixture.remote.read("config");
    let place = config.lines().find_map(|line| line.strip_prefix("IdentityFile ")).unwrap();
    let place = Path::new(place).parent().unwrap();
    assert!(place.starts_with(MEMORY) && !place.exists(), "the key lingers in {}", place.display());
    let shown = |text: String| text.replace(&place.display().to_string(), "PLACE");
    let told =
        ["argv", "modes", "known_hosts", "config"].map(|name| shown(fixture.remote.read(name)));
    insta::assert_snapshot!(told.join("--\n"));
    for name in ["argv", "environment"] {
        assert!(!fixture.remote.read(name).contains("nobody's"), "{name}");
    }
}

#[test]
fn a_key_that_is_on_no_stick_and_a_branch_that_is_not_there_are_named() {
    let fixture = Fixture::new();
    let error = fixture.fetch("main", &with_key("bedplate/other")).unwrap_err();
    assert_eq!(error.causes(), ["no key stick has `bedplate/other`"]);
    assert!(!fixture.at("argv").exists());
    let error = fixture.fetch("trunk", &over_ssh()).unwrap_err();
    assert!(told(&error).contains("refs/heads/trunk"), "{}", told(&error));
}

#[test]
fn a_repository_comes_from_a_clone_a_bare_one_or_a_bundle_on_a_volume() {
    let fixture = Fixture::new();
    let head = fixture.git(&["rev-parse", "HEAD"]);
    let volume = fixture.at("volume");
    fs::create_dir_all(volume.join("me")).unwrap();
    fixture.git(&["clone", "-q", "--bare", ".", volume.join("me/infra.git").to_str().unwrap()]);
    fixture.git(&["bundle", "create", "-q", volume.join("infra.bundle").to_str().unwrap(), "main"]);
    fixture.git(&["clone", "-q", ".", volume.join("clone").to_str().unwrap()]);
    // Whoever owns the files on the stick is a stranger here.
    if chown(&volume, Some(12345), Some(12345)).is_ok() {
        Command::new("chown").args(["-R", "12345:12345"]).arg(&volume).run().unwrap();
    }
    for path in ["me/infra.git", "infra.bundle", "clone"] {
        assert_eq!(fixture.take(&volume, Some(path)).unwrap(), head, "{path}");
    }
    assert_eq!(fixture.take(&volume.join("clone"), None).unwrap(), head);
}

#[test]
fn what_is_not_on_the_volume_is_said_with_what_was_seen() {
    let fixture = Fixture::new();
    let volume = fixture.at("volume");
    fs::create_dir_all(volume.join("infra/nix")).unwrap();
    fs::write(volume.join("infra/flake.nix"), "{ }\n").unwrap();
    fs::write(volume.join("odd\u{1b}[2J"), "no bundle").unwrap();
    let of = |path| told(&fixture.take(&volume, path).unwrap_err());
    insta::assert_snapshot!(
        [of(Some("infra.bundle")), of(Some("infra/me")), of(Some("infra")), of(None)].join("\n")
    );
    fs::rename(volume.join("odd\u{1b}[2J"), volume.join("x.bundle")).unwrap();
    assert!(of(Some("x.bundle")).contains("x.bundle"), "{}", of(Some("x.bundle")));
}

#[test]
fn t15_no_link_on_the_volume_is_followed() {
    let fixture = Fixture::new();
    let volume = fixture.at("volume");
    fs::create_dir(&volume).unwrap();
    let outside = fixture.at("owner");
    symlink(&outside, volume.join("link")).unwrap();
    symlink(fixture.at("."), volume.join("up")).unwrap();
    fs::create_dir(volume.join("hollow")).unwrap();
    symlink(outside.join(".git"), volume.join("hollow/.git")).unwrap();
    for path in ["link", "up/owner"] {
        let error = told(&fixture.take(&volume, Some(path)).unwrap_err());
        assert!(error.contains("is a link, which is not followed"), "{error}");
    }
    let error = told(&fixture.take(&volume, Some("hollow")).unwrap_err());
    assert!(error.contains("is no git repository"), "{error}");
}

#[test]
fn a_flake_that_was_not_told_of_the_host_is_refused_before_any_disk() {
    let fixture = Fixture::new();
    let flake = |hosts: &str| format!("{{ outputs = _: {{ nixosConfigurations = {hosts}; }}; }}\n");
    fixture.remote.write("owner/flake.nix", &flake("{ oracle = 1; }"), 0o644);
    fixture.publish("Written out");
    let error = fixture.fetch("main", &over_ssh()).unwrap_err();
    assert!(told(&error).contains("box is none of them"), "{}", told(&error));
    assert!(error.next.as_deref().unwrap().contains("wrote to no disk"), "{:?}", error.next);
    assert!(!fixture.at("fetched/flake.bundle").exists());
    for (known, message) in [("{ oracle = 1; box = 2; }", "Told"), ("f ./nix/hosts", "Listed")] {
        fixture.remote.write("owner/flake.nix", &flake(known), 0o644);
        fixture.publish(message);
        fixture.fetch("main", &over_ssh()).unwrap();
    }
}

#[test]
fn t15_links_and_paths_that_leave_and_submodules_are_refused_before_any_disk() {
    for (path, target) in [("x", "/etc"), ("nix/y", "../../etc"), ("z", ".git/hooks")] {
        let fixture = Fixture::new();
        symlink(target, fixture.at("owner").join(path)).unwrap();
        fixture.publish("Link");
        let error = told(&fixture.fetch("main", &over_ssh()).unwrap_err());
        assert!(error.contains(target), "{error}");
        assert!(!fixture.at("fetched/flake.bundle").exists());
    }
    let fixture = Fixture::new();
    let head = fixture.git(&["rev-parse", "HEAD"]);
    fixture.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor")]);
    fixture.git(&["commit", "-q", "-m", "Submodule"]);
    fixture.git(&["push", "-q", fixture.at("infra.git").to_str().unwrap(), "HEAD:refs/heads/main"]);
    let error = told(&fixture.fetch("main", &over_ssh()).unwrap_err());
    assert!(error.contains("\"vendor\" is a submodule"), "{error}");

    // Without an address, which only git's own check of objects notices.
    let fixture = Fixture::new();
    let refused = fixture.publish_crafted();
    let error = told(&fixture.fetch(&refused, &over_ssh()).unwrap_err());
    assert!(error.contains("fsck error"), "{error}");

    for name in ["..", ".git", ".GIT"] {
        let fixture = Fixture::new();
        let blob = fixture.git(&["rev-parse", "HEAD:flake.nix"]);
        let entry = format!("100644 blob {blob}\t{name}\n");
        let mut mktree = Command::new("git");
        mktree.arg("-C").arg(fixture.at("owner")).arg("mktree");
        let tree = mktree.read_with_input(entry.as_bytes()).unwrap();
        let commit = fixture.git(&["commit-tree", "-m", "Crafted", tree.trim()]);
        let to = format!("{commit}:refs/heads/crafted");
        fixture.git(&["push", "-q", fixture.at("infra.git").to_str().unwrap(), &to]);
        assert!(fixture.fetch("crafted", &over_ssh()).is_err(), "{name}");
    }
}

#[test]
fn nothing_that_a_repository_on_a_volume_says_is_run() {
    let fixture = Fixture::new();
    let head = fixture.git(&["rev-parse", "HEAD"]);
    let evil = fixture.at("evil");
    fixture.remote.write("evil", "#!/bin/sh\ntouch \"$0.told\"\nexec \"$@\"\n", 0o755);
    let evil = evil.to_str().unwrap();
    for name in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.alternateRefsCommand",
        "uploadpack.packObjectsHook",
        "diff.external",
        "gpg.program",
        "credential.helper",
        "remote.origin.uploadpack",
        "filter.evil.smudge",
        "filter.evil.process",
    ] {
        fixture.git(&["config", name, evil]);
    }
    fixture.git(&["config", "core.hooksPath", fixture.at("hooks").to_str().unwrap()]);
    for hook in ["post-checkout", "post-index-change", "reference-transaction", "pre-receive"] {
        let text = format!("#!/bin/sh\ntouch {evil}.told\n");
        fixture.remote.write(&format!("hooks/{hook}"), &text, 0o755);
        fixture.remote.write(&format!("owner/.git/hooks/{hook}"), &text, 0o755);
    }
    // Objects that it lacks would be fetched from where it says, by the program it names.
    fixture.git(&["config", "remote.origin.url", fixture.at("infra.git").to_str().unwrap()]);
    fixture.git(&["config", "remote.origin.promisor", "true"]);
    fixture.git(&["config", "extensions.partialClone", "origin"]);
    assert_eq!(fixture.take(&fixture.at("owner"), None).unwrap(), head);
    let blob = fixture.git(&["rev-parse", "HEAD:flake.nix"]);
    let (first, rest) = blob.split_at(2);
    fs::remove_file(fixture.at("owner/.git/objects").join(first).join(rest)).unwrap();
    assert!(fixture.take(&fixture.at("owner"), None).is_err());
    assert!(!fixture.at("evil.told").exists());
    // It would be, by a git that reads its configuration.
    let mut careless = Command::new("git");
    drop(careless.arg("-C").arg(fixture.at("owner")).args(["status", "--porcelain"]).read());
    assert!(fixture.at("evil.told").exists());
}

#[test]
fn a_shallow_clone_and_a_repository_without_room_or_flake_are_refused() {
    let fixture = Fixture::new();
    fixture.remote.write("owner/README", "", 0o644);
    fixture.publish("Second");
    let volume = fixture.at("volume");
    let url = format!("file://{}", fixture.at("owner").display());
    fixture.git(&["clone", "-q", "--depth", "1", &url, volume.to_str().unwrap()]);
    let error = told(&fixture.take(&volume, None).unwrap_err());
    assert!(error.contains("cut off"), "{error}");

    let fixture = Fixture::new();
    fixture.git(&["rm", "-q", "-r", "nix"]);
    fixture.remote.write("owner/nix", "a file\n", 0o644);
    fixture.publish("In the way");
    let error = told(&fixture.fetch("main", &over_ssh()).unwrap_err());
    assert!(error.contains("nix is no directory, so nix/hosts/box cannot be made"), "{error}");

    let fixture = Fixture::new();
    fixture.git(&["mv", "flake.nix", "default.nix"]);
    fixture.publish("No flake");
    let error = told(&fixture.fetch("main", &over_ssh()).unwrap_err());
    assert!(error.contains("flake.nix is not committed in it"), "{error}");
}

#[test]
fn the_mediums_platform_is_added_and_another_is_refused_before_any_disk() {
    let fixture = Fixture::new();
    let medium = b"{\"tree\": 1}";
    let fetch = || fixture.fetch_for("main", &over_ssh(), Some(medium));
    assert!(told(&fetch().unwrap_err()).contains("flake.lock is not committed in it"));
    for path in ["flake.lock", "bedplate/flake.nix", "bedplate/lib.nix"] {
        fixture.remote.write(&format!("owner/{path}"), "{ }\n", 0o644);
    }
    fixture.publish("Platform");
    fetch().unwrap();
    assert_eq!(fixture.remote.read("fetched/platform.json").as_bytes(), medium);
    fixture.enrol("{}");
    assert_eq!(fixture.remote.read("nixos/bedplate/platform.json").as_bytes(), medium);
    fixture.remote.write("owner/bedplate/platform.json", "{ \"tree\":\n1 }\n", 0o644);
    fixture.publish("The same");
    fetch().unwrap();
    assert!(!fixture.at("fetched/platform.json").exists(), "nothing of an earlier run is left");
    fixture.remote.write("owner/bedplate/platform.json", "{ \"tree\": 2 }\n", 0o644);
    fixture.publish("Another");
    let error = told(&fetch().unwrap_err());
    assert!(error.contains("another platform than the medium carries"), "{error}");
}

#[test]
fn a_repository_in_the_answers_beside_another_in_the_document_is_refused() {
    let text = include_str!("../../../../../core/document/tests/hosts/good_source_ssh.toml");
    let mut host = bedplate_document::parse(text, "host.toml").unwrap();
    let bundle = Repository::Bundle { file: "x".into(), platform: None };
    let mut answers = Answers { host_toml: text.to_owned(), repository: Some(bundle) };
    let error = agree(&answers, &host).unwrap_err();
    assert!(error.next.unwrap().starts_with("nothing was written"));
    answers.repository = Some(Repository::Files("x".into()));
    assert!(agree(&answers, &host).is_ok());
    host.flake.source = None;
    answers.repository = Some(Repository::Bundle { file: "x".into(), platform: None });
    assert!(agree(&answers, &host).is_ok());
}

#[test]
fn t03_a_volume_that_is_not_there_any_more_is_named() {
    let fixture = Fixture::new();
    let from = RepositoryPlace::Volume(FoundVolume {
        label: "INFRA".into(),
        disk: "usb-Gone_0000-0:0".into(),
        partition: Some(1),
        kind: "vfat".into(),
        path: None,
    });
    let error = fixture.fetch("main", &from).unwrap_err();
    assert!(
        told(&error).contains("/dev/disk/by-id/usb-Gone_0000-0:0 is not there"),
        "{}",
        told(&error)
    );
    assert!(error.next.unwrap().starts_with("this run wrote to no disk"));
}
