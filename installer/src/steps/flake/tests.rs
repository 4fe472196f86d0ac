//! Enrolment with real git, in temporary directories.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use bedplate_tools::command::CommandExt as _;

use super::stand_in::enrolment;
use super::*;

fn log(repository: &Path) -> Vec<String> {
    let mut git = Command::new("git");
    let text = git.arg("-C").arg(repository).args(["log", "--format=%an %s"]).read().unwrap();
    text.lines().map(str::to_owned).collect()
}

fn head(repository: &Path) -> String {
    Reader::new(repository).commit("HEAD").unwrap()
}

/// The files of a repository without a history, and where it is to stand.
fn plain_files(place: &Path) -> (PathBuf, PathBuf) {
    let (source, repository) = (place.join("flake"), place.join("nixos"));
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("flake.nix"), "{ }\n").unwrap();
    (source, repository)
}

#[test]
fn f1_what_a_power_cut_leaves_of_the_repository_does_not_stop_the_next_run() {
    let place = tempfile::tempdir().unwrap();
    let (source, repository) = plain_files(place.path());
    // Cut off before the repository was moved into place.
    let staging = place.path().join("nixos.bedplate-new");
    fs::create_dir_all(staging.join(".git")).unwrap();
    let run = |hardware| {
        Enrolment {
            repository: &repository,
            source: Some(&Repository::Files(source.clone())),
            hosts: "nix/hosts",
            name: "box",
            host_toml: "schema = 1\n",
            hardware,
            remote: None,
            message: "Enrol box\n",
            host_key: None,
        }
        .run()
    };
    assert_eq!(run("{}").unwrap(), Outcome::Done);
    assert_eq!(log(&repository).len(), 2);
    assert!(!staging.exists());
    // Cut off while git held its locks.
    for lock in ["index.lock", "refs/heads/main.lock"] {
        fs::write(repository.join(".git").join(lock), "").unwrap();
    }
    assert_eq!(run("{\"memory\": 1}").unwrap(), Outcome::Done);
    assert_eq!(log(&repository).len(), 3);
}

#[test]
fn a_host_is_enrolled_once_and_a_second_run_neither_amends_nor_duplicates() {
    let place = tempfile::tempdir().unwrap();
    let (source, repository) = plain_files(place.path());
    let enrolment = |hardware| {
        Enrolment {
            repository: &repository,
            source: Some(&Repository::Files(source.clone())),
            hosts: "nix/hosts",
            name: "hypervisor",
            host_toml: "schema = 1 # verbatim\n",
            hardware,
            remote: None,
            message: "Enrol hypervisor\n",
            host_key: None,
        }
        .run()
        .unwrap()
    };
    let expected =
        ["bedplate@hypervisor Enrol hypervisor", "bedplate Start from the profile's template"];
    assert_eq!(enrolment("{}"), Outcome::Done);
    assert_eq!(log(&repository), expected);
    assert_eq!(enrolment("{}"), Outcome::AlreadyDone);
    assert_eq!(log(&repository), expected);
    let first = head(&repository);
    // Other hardware: the commit that may be pushed by now stays as it is.
    assert_eq!(enrolment("{\"memory\": 1}"), Outcome::Done);
    assert_eq!(log(&repository).len(), 3);
    assert_eq!(Reader::new(&repository).commit("HEAD^"), Some(first));
    assert_eq!(enrolment("{\"memory\": 1}"), Outcome::AlreadyDone);
    let host = repository.join("nix/hosts/hypervisor");
    assert_eq!(
        bedplate_facts::roots::names(&host),
        ["configuration.nix", "hardware.json", "host.toml"]
    );
    assert_eq!(fs::read_to_string(host.join("host.toml")).unwrap(), "schema = 1 # verbatim\n");
}

/// What the owner brings: a branch `trunk` of two commits, the second by an earlier machine.
struct Owner {
    place: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let owner = Self { place: tempfile::tempdir().unwrap() };
        owner.git(&["init", "-q", "-b", "trunk"]);
        owner.write("flake.nix", "{ }\n");
        owner.write("bedplate/platform.json", "{\"old\": 1}\n");
        owner.write("nix/hosts/box/configuration.nix", "{ owners = 1; }\n");
        owner.write("nix/hosts/box/notes.txt", "mine\n");
        owner.write(".gitignore", "hardware.json\n");
        owner.commit("bedplate@box");
        owner.write("README", "second\n");
        owner.commit("bedplate@box");
        owner
    }

    fn repository(&self) -> std::path::PathBuf {
        self.place.path().join("owner")
    }

    fn git(&self, arguments: &[&str]) -> String {
        fs::create_dir_all(self.repository()).unwrap();
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(["-c", "user.name=Owner"]);
        git.args(arguments).read().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, email: &str) {
        self.git(&["add", "--all"]);
        let email = format!("user.email={email}");
        self.git(&["-c", &email, "commit", "-q", "-m", "Owner's"]);
    }

    fn bundle(&self, platform: Option<&str>) -> Repository {
        let file = self.place.path().join("flake.bundle");
        Reader::new(&self.repository()).bundle(&file, "trunk").unwrap();
        Repository::Bundle { file, platform: platform.map(|text| text.as_bytes().to_vec()) }
    }

    fn target(&self) -> std::path::PathBuf {
        self.place.path().join("nixos")
    }

    fn enrol(&self, source: &Repository, hardware: &str) -> Result<Outcome, StepError> {
        self.enrolment(source, hardware, |enrolment| enrolment.run())
    }

    fn enrolment<T>(
        &self,
        source: &Repository,
        hardware: &str,
        then: impl FnOnce(&Enrolment<'_>) -> T,
    ) -> T {
        then(&enrolment(&self.target(), Some(source), hardware))
    }

    fn in_target(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.target()).args(arguments).read().unwrap()
    }
}

#[test]
fn the_owners_history_stays_and_gets_one_commit_for_each_state_of_the_machine() {
    let owner = Owner::new();
    let bundle = owner.bundle(Some("{\"new\": 2}\n"));
    let theirs = owner.git(&["log", "--format=%H"]);
    assert_eq!(owner.enrol(&bundle, "{}").unwrap(), Outcome::Done);
    assert_eq!(owner.enrol(&bundle, "{}").unwrap(), Outcome::AlreadyDone);
    let first = head(&owner.target());
    let changed = owner.in_target(&["show", "--format=", "--name-status", "HEAD"]);
    assert_eq!(
        changed,
        "M\tbedplate/platform.json\nA\tnix/hosts/box/hardware.json\nA\tnix/hosts/box/host.toml\n"
    );
    assert_eq!(owner.enrol(&bundle, "{\"memory\": 1}").unwrap(), Outcome::Done);
    let all = owner.in_target(&["log", "--format=%H"]);
    assert_eq!(all.lines().nth(1), Some(first.as_str()), "what was committed stays");
    assert_eq!(all.lines().skip(2).collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>());
    assert_eq!(owner.in_target(&["symbolic-ref", "--short", "HEAD"]), "trunk\n");
    assert_eq!(owner.in_target(&["status", "--porcelain"]), "");
    let changed = owner.in_target(&["show", "--format=", "--name-status", "HEAD"]);
    assert_eq!(changed, "M\tnix/hosts/box/hardware.json\n");
    let read = |path: &str| fs::read_to_string(owner.target().join(path)).unwrap();
    assert_eq!(read("nix/hosts/box/configuration.nix"), "{ owners = 1; }\n");
    assert_eq!(read("bedplate/platform.json"), "{\"new\": 2}\n");
}

#[test]
fn t24_of_the_answers_nothing_stays_but_what_is_in_the_repository() {
    let owner = Owner::new();
    let bundle = owner.bundle(Some("{}"));
    let before = bedplate_facts::roots::names(owner.place.path());
    // Another run was cut off.
    fs::create_dir(owner.target().with_extension("bedplate-new")).unwrap();
    owner.enrol(&bundle, "{}").unwrap();
    let mut after = bedplate_facts::roots::names(owner.place.path());
    after.retain(|name| name != "nixos");
    assert_eq!(after, before);
    let files = owner.in_target(&["ls-files", "--cached", "--others"]);
    let documents: Vec<&str> = files.lines().filter(|it| it.ends_with("host.toml")).collect();
    assert_eq!(documents, ["nix/hosts/box/host.toml"]);
    for name in ["bundle", "answers", "authorized_keys", "recovery"] {
        assert!(!files.contains(name), "{files}");
    }
}

#[test]
fn origin_is_the_remote_of_the_document_and_never_the_bundle() {
    let owner = Owner::new();
    owner.enrol(&owner.bundle(None), "{}").unwrap();
    let remotes = owner.in_target(&["remote", "-v"]);
    assert!(remotes.starts_with("origin\tgit@git.example.org:me/infra.git (fetch)"), "{remotes}");
    assert_eq!(remotes.lines().count(), 2);
    let configuration = fs::read_to_string(owner.target().join(".git/config")).unwrap();
    assert!(!configuration.contains("bundle"), "{configuration}");
    assert!(fs::symlink_metadata(owner.target().join(".git/hooks")).is_err());
}

#[test]
fn f1_a_clone_that_was_cut_off_is_made_again() {
    let owner = Owner::new();
    let bundle = owner.bundle(None);
    let staging = owner.target().with_extension("bedplate-new");
    fs::create_dir_all(staging.join(".git/objects")).unwrap();
    fs::write(staging.join(".git/HEAD"), "ref: refs/heads/trunk\n").unwrap();
    assert_eq!(owner.enrol(&bundle, "{}").unwrap(), Outcome::Done);
    // Cut off between the directory and its commit.
    owner.in_target(&["update-ref", "refs/heads/trunk", "HEAD^"]);
    assert_eq!(owner.enrol(&bundle, "{}").unwrap(), Outcome::Done);
    assert_eq!(owner.in_target(&["rev-list", "--count", "HEAD"]), "3\n");
}

#[test]
fn f1_the_owners_files_survive_a_cut_between_the_renames_of_the_hosts_directory() {
    let owner = Owner::new();
    let bundle = owner.bundle(None);
    owner.enrol(&bundle, "{}").unwrap();
    let host = owner.target().join("nix/hosts/box");
    fs::rename(&host, owner.target().join(".git/bedplate-box-old")).unwrap();
    fs::create_dir(owner.target().join(".git/bedplate-box")).unwrap();
    for hardware in ["{}", "{\"memory\": 1}"] {
        owner.enrol(&bundle, hardware).unwrap();
        assert_eq!(fs::read_to_string(host.join("notes.txt")).unwrap(), "mine\n");
        assert_eq!(owner.in_target(&["status", "--porcelain"]), "");
        assert_eq!(owner.in_target(&["diff", "--name-only", "--diff-filter=D", BASE]), "");
    }
}

#[test]
fn a_corrected_repository_takes_the_place_of_the_one_that_an_earlier_run_was_given() {
    let owner = Owner::new();
    owner.enrol(&owner.bundle(None), "{}").unwrap();
    owner.write("flake.nix", "{ corrected = 1; }\n");
    owner.commit("owner@example.org");
    assert_eq!(owner.enrol(&owner.bundle(None), "{}").unwrap(), Outcome::Done);
    let flake = fs::read_to_string(owner.target().join("flake.nix")).unwrap();
    assert_eq!(flake, "{ corrected = 1; }\n");
    let log = owner.in_target(&["log", "--format=%s"]);
    assert_eq!(log, "Enrol box\nOwner's\nOwner's\nOwner's\n");
}

#[test]
fn t52_a_repository_that_somebody_worked_in_is_never_replaced() {
    let works: [fn(&Owner); 4] = [
        |owner| {
            fs::write(owner.target().join("notes.md"), "mine\n").unwrap();
            owner.in_target(&["add", "notes.md"]);
            let by = ["-c", "user.name=o", "-c", "user.email=o@example.org"];
            owner.in_target(&[&by[..], &["commit", "-q", "-m", "Mine"]].concat());
        },
        // The host's own commits of a later day: `bedplate-host update` signs as the installer does.
        |owner| {
            let by = ["-c", "user.name=bedplate@box", "-c", "user.email=bedplate@box"];
            let commit = ["commit", "-q", "--allow-empty", "-m", "Take another platform"];
            owner.in_target(&[&by[..], &commit].concat());
        },
        // On another branch.
        |owner| {
            owner.in_target(&["checkout", "-q", "-b", "try"]);
            let by = ["-c", "user.name=o", "-c", "user.email=o@example.org"];
            let commit = ["commit", "-q", "--allow-empty", "-m", "Mine"];
            owner.in_target(&[&by[..], &commit].concat());
            owner.in_target(&["checkout", "-q", "trunk"]);
        },
        |owner| fs::write(owner.target().join("flake.nix"), "{ mine = 1; }\n").unwrap(),
    ];
    for work in works {
        let owner = Owner::new();
        owner.enrol(&owner.bundle(None), "{}").unwrap();
        work(&owner);
        let before = owner.in_target(&["log", "--all", "--format=%H"]);
        owner.write("flake.nix", "{ corrected = 1; }\n");
        owner.commit("owner@example.org");
        let error = owner.enrol(&owner.bundle(None), "{}").unwrap_err();
        assert!(error.what.contains("beyond what was enrolled"), "{}", error.what);
        assert!(error.next.unwrap().contains("git fetch"));
        assert_eq!(owner.in_target(&["log", "--all", "--format=%H"]), before);
    }
}

#[test]
fn f1_what_a_cut_left_uncommitted_does_not_keep_a_corrected_repository_away() {
    let owner = Owner::new();
    owner.enrol(&owner.bundle(None), "{}").unwrap();
    owner.in_target(&["update-ref", "refs/heads/trunk", "HEAD^"]);
    owner.write("flake.nix", "{ corrected = 1; }\n");
    owner.commit("owner@example.org");
    assert_eq!(owner.enrol(&owner.bundle(None), "{}").unwrap(), Outcome::Done);
}

#[test]
fn t15_a_bundle_with_links_that_leave_is_refused_before_anything_is_checked_out() {
    for (path, target) in [("x", "/etc"), ("nix/y", "../../etc"), ("z", ".git/hooks")] {
        let owner = Owner::new();
        symlink(target, owner.repository().join(path)).unwrap();
        owner.commit("owner@example.org");
        let error = owner.enrol(&owner.bundle(None), "{}").unwrap_err();
        assert!(error.causes().concat().contains(target), "{:?}", error.causes());
        assert!(!owner.target().exists());
        let staged = owner.target().with_extension("bedplate-new");
        assert!(!staged.join("flake.nix").exists());
    }
}

#[test]
fn t15_a_link_in_the_place_of_the_host_or_its_files_is_never_written_through() {
    let owner = Owner::new();
    owner.write("common/host.toml", "theirs\n");
    symlink("../../../common/host.toml", owner.repository().join("nix/hosts/box/host.toml"))
        .unwrap();
    owner.commit("owner@example.org");
    owner.enrol(&owner.bundle(None), "{}").unwrap();
    let read = |path: &str| fs::read_to_string(owner.target().join(path)).unwrap();
    assert_eq!(read("common/host.toml"), "theirs\n");
    assert_eq!(read("nix/hosts/box/host.toml"), "schema = 1\n");

    let owner = Owner::new();
    owner.git(&["mv", "nix/hosts", "elsewhere"]);
    fs::create_dir_all(owner.repository().join("nix")).unwrap();
    symlink("../elsewhere", owner.repository().join("nix/hosts")).unwrap();
    owner.commit("owner@example.org");
    let error = owner.enrol(&owner.bundle(None), "{}").unwrap_err();
    assert!(error.what.contains("is a link"), "{error}");
}

#[test]
fn nothing_that_the_repository_says_is_run() {
    let owner = Owner::new();
    let told = owner.place.path().join("told");
    let filter = "* filter=evil diff=evil merge=evil\n";
    owner.write(".gitattributes", filter);
    owner.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ./x\n");
    let evil = format!("touch {}", told.display());
    owner.write(".githooks/post-checkout", &format!("#!/bin/sh\n{evil}\n"));
    owner.commit("owner@example.org");
    for name in ["filter.evil.smudge", "filter.evil.clean", "core.fsmonitor"] {
        owner.git(&["config", name, &evil]);
    }
    owner.enrol(&owner.bundle(None), "{}").unwrap();
    assert!(!told.exists());
}

#[test]
fn f7_a_damaged_bundle_is_refused_with_what_to_do() {
    let owner = Owner::new();
    let bundle = owner.bundle(None);
    let Repository::Bundle { file, .. } = &bundle else { panic!("a bundle") };
    let good = fs::read(file).unwrap();
    for cut in [0, 10, good.len() / 2, good.len() - 1] {
        fs::write(file, &good[..cut]).unwrap();
        let error = owner.enrol(&bundle, "{}").unwrap_err();
        assert!(error.next.unwrap().contains("bedplate personalize"), "cut at {cut}");
        assert!(!owner.target().exists());
    }
}

#[test]
fn the_owner_fetches_the_hosts_commit_from_the_stick() {
    let owner = Owner::new();
    let bundle = owner.bundle(None);
    let stick = owner.place.path().join("stick");
    fs::create_dir(&stick).unwrap();
    // A repeated run replaces what lies on the stick.
    for hardware in ["{}", "{\"memory\": 1}"] {
        owner.enrol(&bundle, hardware).unwrap();
        let told = owner.enrolment(&bundle, hardware, |one| handover::leave(one, &[&stick]));
        let Handover::Left(words) = told else { panic!("{told:?}") };
        insta::assert_snapshot!("handover", words);
    }
    let file = stick.join("bedplate/enrolled/box.bundle");
    owner.git(&["fetch", "-q", file.to_str().unwrap(), "HEAD:bedplate/box"]);
    assert_eq!(owner.git(&["log", "--format=%s", "trunk..bedplate/box"]), "Enrol box\nEnrol box\n");
    assert_eq!(owner.git(&["rev-parse", "bedplate/box"]), owner.in_target(&["rev-parse", "HEAD"]));
}

#[test]
fn a_stick_that_takes_nothing_is_a_warning_with_what_to_do() {
    let owner = Owner::new();
    let bundle = owner.bundle(None);
    owner.enrol(&bundle, "{}").unwrap();
    let blocked = owner.place.path().join("stick");
    fs::write(&blocked, "no directory").unwrap();
    for sticks in [vec![], vec![blocked.as_path()]] {
        let told = owner.enrolment(&bundle, "{}", |one| handover::leave(one, &sticks));
        let Handover::Failed(words) = told else { panic!("{told:?}") };
        assert!(words.contains("installation goes on") && words.contains("git fetch"), "{words}");
    }
    let files = Repository::Files(owner.repository());
    let told = owner.enrolment(&files, "{}", |one| handover::leave(one, &[]));
    assert_eq!(told, Handover::Nothing);
}

#[test]
fn a_repository_with_rules_gets_the_hosts_public_key_and_recipient_in_one_commit() {
    let place = tempfile::tempdir().unwrap();
    let (source, repository) = plain_files(place.path());
    let admin = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
    fs::write(source.join(RULES), format!("creation_rules:\n  - age: {admin}\n")).unwrap();
    let etc = place.path().join("etc");
    let host_key = HostKey { configuration: &etc, sealed: false, warn: &|_| {} };
    let run = || {
        Enrolment {
            repository: &repository,
            source: Some(&Repository::Files(source.clone())),
            hosts: "nix/hosts",
            name: "box",
            host_toml: "schema = 1\n",
            hardware: "{}",
            remote: None,
            message: "Enrol box\n",
            host_key: Some(&host_key),
        }
        .run()
        .unwrap()
    };
    assert_eq!(run(), Outcome::Done);
    assert_eq!(run(), Outcome::AlreadyDone);
    let mut git = Command::new("git");
    git.arg("-C").arg(&repository).args(["show", "--format=", "--name-only"]);
    assert_eq!(
        git.read().unwrap().lines().collect::<Vec<_>>(),
        [
            ".sops.yaml",
            "nix/hosts/box/configuration.nix",
            "nix/hosts/box/hardware.json",
            "nix/hosts/box/host.toml",
            "nix/hosts/box/ssh_host_ed25519_key.pub"
        ]
    );
    let public = fs::read_to_string(repository.join("nix/hosts/box").join(PUBLIC_KEY)).unwrap();
    assert_eq!(public, fs::read_to_string(etc.join("ssh").join(PUBLIC_KEY)).unwrap());
}

#[test]
fn a_sealed_key_counts_only_for_a_host_whose_public_key_came_with_the_repository() {
    const OURS: &str = "ssh-ed25519 AAAAprepared root@box\n";
    for (came, sealed, made) in
        [(true, true, false), (false, true, true), (true, false, true), (false, false, true)]
    {
        let place = tempfile::tempdir().unwrap();
        let (source, repository) = plain_files(place.path());
        let admin = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
        let rules = format!("creation_rules:\n  - age: {admin}\n");
        fs::write(source.join(RULES), &rules).unwrap();
        let host = source.join("nix/hosts/box");
        fs::create_dir_all(&host).unwrap();
        fs::write(host.join("notes.txt"), "mine\n").unwrap();
        if came {
            fs::write(host.join(PUBLIC_KEY), OURS).unwrap();
        }
        let etc = place.path().join("etc");
        let host_key = HostKey { configuration: &etc, sealed, warn: &|_| {} };
        let files = Repository::Files(source);
        // The second run finds what the first has written.
        for outcome in [Outcome::Done, Outcome::AlreadyDone] {
            let host_key = Some(&host_key);
            let one = Enrolment { host_key, ..enrolment(&repository, Some(&files), "{}") };
            assert_eq!(one.run().unwrap(), outcome, "{came} {sealed}");
            assert_eq!(etc.join("ssh/ssh_host_ed25519_key").exists(), made, "{came} {sealed}");
            let public = repository.join("nix/hosts/box").join(PUBLIC_KEY);
            let public = fs::read_to_string(public).unwrap();
            assert_eq!(public == OURS, !made, "{came} {sealed}");
            let edited = fs::read_to_string(repository.join(RULES)).unwrap() != rules;
            assert_eq!(edited, made, "{came} {sealed}");
            // As when the first was cut off before the rules.
            fs::write(repository.join(RULES), &rules).unwrap();
        }
    }
}

#[test]
fn a_sealed_key_is_for_a_host_that_names_secrets_of_the_repository() {
    let profile = include_str!("../../../../profiles/hypervisor/host.toml");
    let stick = "password = { stick = \"bedplate/restic-apps\" }";
    let with_secrets = profile.replace(stick, "password = { age = \"restic.age\" }");
    assert_ne!(with_secrets, profile);
    let [plain, with_secrets] =
        [profile, &with_secrets].map(|text| bedplate_document::parse(text, "host.toml").unwrap());
    let place = tempfile::tempdir().unwrap();
    let has = |host: &HostFile| has_sealed_key(host, [place.path()].into_iter());
    assert!(!has(&with_secrets));
    fs::create_dir(place.path().join("bedplate")).unwrap();
    fs::write(place.path().join(HOST_KEY), "sealed").unwrap();
    assert!(has(&with_secrets) && !has(&plain));
}
