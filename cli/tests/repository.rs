//! `bedplate init` and `bedplate host add` as people run them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bedplate_formats::answers::{HEADER_BYTES, Header};
use bedplate_image_builder::answers::{Repository, embedded_flake};
use bedplate_image_builder::personalize::read_answers;
use serde_json::Value;
use tempfile::TempDir;

/// Runs `bedplate` in `directory`, where `nix` is what stands in `programs` and nothing else.
fn bedplate(directory: &Path, programs: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.args(arguments).current_dir(directory).env("PATH", programs).output().unwrap()
}

/// Runs `bedplate` where there is no Nix.
fn without_nix(directory: &Path, arguments: &[&str]) -> Output {
    bedplate(directory, Path::new("/nonexistent"), arguments)
}

/// A directory with a program `nix`.
fn nix(script: &str) -> TempDir {
    let programs = tempfile::tempdir().unwrap();
    let path = programs.path().join("nix");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(directory: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &format!("{name}/"), into);
            } else {
                into.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(directory, "", &mut found);
    found
}

/// A repository with hosts written out, whose lock lacks.
fn unlocked() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let flake = root().join("leaf/repository/tests/repositories/written/flake.nix");
    fs::copy(flake, place.path().join("flake.nix")).unwrap();
    place
}

/// The id in the text, replaced: it differs from run to run.
fn without_id(text: &str) -> String {
    let words = text.split_inclusive(' ');
    words.map(|word| if word.len() == 38 && word.ends_with(", ") { "ID, " } else { word }).collect()
}

#[test]
fn a_new_repository_is_what_a_medium_enrols_into_and_its_host_is_valid() {
    let place = tempfile::tempdir().unwrap();
    let output = without_nix(place.path(), &["init", "infra", "--name", "attic"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!("init", without_id(&stdout(&output)));

    let mut found = files(&place.path().join("infra"));
    let host: Vec<String> =
        found.keys().filter(|path| path.starts_with("nix/hosts/attic/")).cloned().collect();
    assert_eq!(host, ["nix/hosts/attic/configuration.nix", "nix/hosts/attic/host.toml"]);
    for path in &host {
        found.remove(path);
    }
    let mut medium = embedded_flake(&root().join("nix/embedded"), "{}").unwrap();
    medium.remove("bedplate/platform.json").unwrap();
    assert_eq!(found, medium);

    let document = "infra/nix/hosts/attic/host.toml";
    let check = without_nix(place.path(), &["check", document]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    assert!(!stdout(&check).contains("marks an example"), "{}", stdout(&check));
}

/// A medium with nothing but the repository it brings, which holds `files`.
fn medium(place: &Path, files: &[(&str, &str)]) -> PathBuf {
    let (content, iso) = (place.join("content"), place.join("medium.iso"));
    fs::create_dir_all(place.join("flake/bedplate")).unwrap();
    fs::create_dir_all(content.join("live")).unwrap();
    for (path, text) in files {
        fs::write(place.join("flake").join(path), text).unwrap();
    }
    let paths = files.iter().map(|(path, _)| format!("flake/{path}"));
    let mut tar = Command::new("tar");
    tar.arg("--format=ustar").arg("-cf").arg(content.join("live/flake.tar"));
    assert!(tar.arg("-C").arg(place).args(paths).status().unwrap().success());
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-as", "mkisofs", "-quiet", "-R", "-o"]).arg(&iso).arg(&content);
    assert!(xorriso.output().unwrap().status.success());
    iso
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Owner", "-c", "user.email=owner@example.org"]);
    let output = git.arg("-C").arg(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_medium_is_personalised_with_the_owners_repository() {
    let place = tempfile::tempdir().unwrap();
    let area = place.path().join("content/live/answers.bin");
    fs::create_dir_all(area.parent().unwrap()).unwrap();
    let mut empty = Header::empty(1 << 20).encode();
    empty.resize(HEADER_BYTES + (1 << 20), 0);
    fs::write(area, empty).unwrap();
    let medium = medium(place.path(), &[("bedplate/platform.json", "{\"medium\": 1}\n")]);
    let path = std::env::var("PATH").unwrap();
    let run = |arguments: &[&str]| {
        let fixed = ["personalize", medium.to_str().unwrap(), "--host", "infra/host.toml"];
        bedplate(place.path(), Path::new(&path), &[&fixed, arguments].concat())
    };
    let init = without_nix(place.path(), &["init", "infra", "--name", "attic"]);
    assert_eq!(init.status.code(), Some(0), "{}", stderr(&init));
    let infra = place.path().join("infra");
    let document = fs::read_to_string(infra.join("nix/hosts/attic/host.toml")).unwrap();
    let key = format!("ssh_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}\"]", "A".repeat(43));
    fs::write(infra.join("host.toml"), document.replace("ssh_keys = []", &key)).unwrap();
    fs::remove_file(infra.join("nix/hosts/attic/host.toml")).unwrap();
    git(&infra, &["init", "-q", "-b", "trunk"]);

    let refused = run(&["--flake", "infra"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("commit first"), "{}", stderr(&refused));
    git(&infra, &["add", "--all"]);
    git(&infra, &["commit", "-q", "-m", "Start"]);
    let done = run(&["--flake", "infra"]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let Repository::Owned(owned) = read_answers(&medium).unwrap().unwrap().repository else {
        panic!("no bundle")
    };
    assert_eq!(owned.description.unwrap(), b"{\"medium\": 1}\n");

    fs::write(infra.join("bedplate/platform.json"), "{\"mine\": 1}\n").unwrap();
    let dirty = run(&["--flake", "infra"]);
    assert!(stderr(&dirty).contains("bedplate/platform.json"), "{}", stderr(&dirty));
    git(&infra, &["add", "--all"]);
    git(&infra, &["commit", "-q", "-m", "Platform"]);
    let other = run(&["--flake", "infra"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("--take-platform"), "{}", stderr(&other));
    assert_eq!(run(&["--flake", "infra", "--take-platform"]).status.code(), Some(0));
}

#[test]
fn the_description_of_a_medium_goes_beside_the_platform_and_another_is_not_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let first = medium(&one, &[("bedplate/platform.json", "{\"first\": 1}\n")]);
    let second = medium(&other, &[("bedplate/platform.json", "{}\n")]);
    let run = |arguments: &[&str], medium: &Path| {
        let arguments = [arguments, &["--json", "--medium", medium.to_str().unwrap()]].concat();
        let output = without_nix(place.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["left"].clone()
    };
    assert_eq!(run(&["init", "infra"], &first), Value::Array(Vec::new()));
    let left = run(&["host", "add", "attic", "--repository", "infra"], &second);
    assert_eq!(left[0]["kind"], "other_medium", "{left}");
    let kept = fs::read_to_string(place.path().join("infra/bedplate/platform.json")).unwrap();
    assert_eq!(kept, "{\"first\": 1}\n");

    let none = medium(&place.path().join("none"), &[("flake.nix", "{ }\n")]);
    let output = without_nix(place.path(), &["init", "new", "--medium", none.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no description of the embedded platform"), "{output:?}");
    assert!(!place.path().join("new").exists());
}

#[test]
fn every_machine_gets_an_id_of_its_own_and_nothing_is_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let id = |arguments: &[&str]| {
        let output = without_nix(place.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&told["written"], &told["left"][0]["kind"]),
            (&true.into(), &"platform".into())
        );
        told["host"]["id"].as_str().unwrap().to_owned()
    };
    let first = id(&["init", "infra", "--json"]);
    let second = id(&["host", "add", "attic", "--repository", "infra", "--json"]);
    assert_ne!(first, second);
    let text = fs::read_to_string(place.path().join("infra/nix/hosts/attic/host.toml")).unwrap();
    assert!(text.contains(&second), "{text}");

    let before = files(place.path());
    for arguments in [
        &["init", "infra"][..],
        &["host", "add", "attic", "--repository", "infra"],
        &[
            "host",
            "add",
            "twin",
            "--repository",
            "infra",
            "--from",
            "infra/nix/hosts/attic/host.toml",
        ],
        &["host", "add", "other", "--repository", "infra", "--profile", "no\u{1b}such"],
        &["host", "add", "other", "--repository", "infra", "--hosts", "../out"],
        &["host", "add", "other", "--repository", "."],
        &["host", "add", "other", "--repository", "infra", "--dry-run"],
    ] {
        let output = without_nix(place.path(), arguments);
        let expected = i32::from(!arguments.contains(&"--dry-run"));
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", stdout(&output));
        let said = stderr(&output) + &stdout(&output);
        assert!(said.contains("nothing was written"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert_eq!(files(place.path()), before, "{arguments:?}");
    }
}

#[test]
fn t16_hostile_names_are_refused_before_anything_is_written() {
    let place = tempfile::tempdir().unwrap();
    for name in ["../x", "a/b", "${x}", "a''b", "a\"b", "a\nb", "a b", "\u{1b}[31m"] {
        let output = without_nix(place.path(), &["init", "infra", "--name", name]);
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        assert!(stderr(&output).contains("is not a host name"), "{}", stderr(&output));
        assert!(!stderr(&output).contains('\u{1b}'), "{name:?}");
        assert!(files(place.path()).is_empty(), "{name:?}");
    }
}

#[test]
fn a_lock_is_made_by_nix_or_left_with_the_command_and_an_exit_code_of_its_own() {
    let made = unlocked();
    let good = nix("echo \"$@\" > flake.lock");
    let output = bedplate(made.path(), good.path(), &["host", "add", "attic"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let arguments = fs::read_to_string(made.path().join("flake.lock")).unwrap();
    assert!(arguments.ends_with("flake lock path:.\n"), "{arguments}");
    assert!(stdout(&output).contains("flake.lock\n        + by nix flake lock"), "{output:?}");

    let offline = nix(
        "printf 'error: no network \\033[31m\\n\\n  at x:1:2\\nerror: attribute missing\\n' >&2; exit 1",
    );
    for programs in [offline.path(), Path::new("/nonexistent")] {
        let left = unlocked();
        let output = bedplate(left.path(), programs, &["host", "add", "attic"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.contains("Run:\n  nix --extra-experimental-features"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        if programs == offline.path() {
            assert!(said.contains("(error: no network \\u{1b}[31m)"), "the first error: {said}");
        }
        assert!(left.path().join("hosts").exists() || left.path().join("nix/hosts").exists());
        assert!(!left.path().join("flake.lock").exists());
    }
}

#[test]
fn a_repository_of_nixos_is_locked_by_nix_or_left_with_the_command() {
    let arguments =
        ["init", "--platform", "nixos", "--bedplate", "path:/srv/bedplate", "--name", "attic", "."];
    let made = tempfile::tempdir().unwrap();
    let good = nix("test -e flake.nix && echo \"$@\" > flake.lock");
    let output = bedplate(made.path(), good.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("flake.lock\n        + by nix flake lock"), "{output:?}");
    assert!(!made.path().join("bedplate").exists());
    let text = fs::read_to_string(made.path().join("nix/hosts/attic/host.toml")).unwrap();
    assert!(text.contains("platform = \"nixos\""), "{text}");

    let left = tempfile::tempdir().unwrap();
    let output = without_nix(left.path(), &arguments);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stdout(&output).contains("Run:\n  nix --extra"), "{}", stdout(&output));
    assert!(!left.path().join("flake.lock").exists(), "no hash is made up");

    let nowhere = tempfile::tempdir().unwrap();
    let output = without_nix(nowhere.path(), &["init", "--platform", "nixos", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--bedplate git+https://"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
}

#[test]
fn a_flake_that_is_not_understood_ends_with_4_and_the_lines_to_add() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("flake.nix"), "{ outputs = import ./outputs.nix; }\n").unwrap();
    let missing = without_nix(place.path(), &["host", "add", "attic"]);
    assert_eq!(missing.status.code(), Some(1), "{}", stdout(&missing));
    insta::assert_snapshot!("unknowable", stderr(&missing));
    let outputs = "inputs: { nixosConfigurations.oracle = 1; }\n";
    fs::write(place.path().join("outputs.nix"), outputs).unwrap();
    let output = without_nix(place.path(), &["host", "add", "attic"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    insta::assert_snapshot!("by_hand", without_id(&stdout(&output)));
}

#[test]
fn a_host_that_is_there_is_refused_and_taken_over_when_asked() {
    let place = unlocked();
    let host = place.path().join("hosts/oracle");
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("configuration.nix"), "{ }\n").unwrap();
    let refused = without_nix(place.path(), &["host", "add", "oracle"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    assert!(stderr(&refused).contains("`bedplate host add oracle --adopt`"), "{refused:?}");
    assert!(!host.join("host.toml").exists());
    let arguments = ["host", "add", "oracle", "--adopt", "--bedplate", "path:/srv/bedplate"];
    let taken = without_nix(place.path(), &arguments);
    assert_eq!(taken.status.code(), Some(4), "{}", stderr(&taken));
    insta::assert_snapshot!("adopted", without_id(&stdout(&taken)));
    assert_eq!(fs::read_to_string(host.join("configuration.nix")).unwrap(), "{ }\n");
    let check = without_nix(place.path(), &["check", "hosts/oracle/host.toml"]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
}

#[test]
fn where_hosts_live_is_asked_for_and_git_is_found_further_up() {
    let place = tempfile::tempdir().unwrap();
    let infra = place.path().join("infra");
    for directory in ["hosts", "machines"] {
        fs::create_dir_all(infra.join(directory)).unwrap();
    }
    fs::write(infra.join("flake.nix"), "{ outputs = inputs: { }; }\n").unwrap();
    git(place.path(), &["init", "-q"]);
    let unsure = without_nix(place.path(), &["host", "add", "attic", "--repository", "infra"]);
    assert_eq!(unsure.status.code(), Some(1), "{}", stdout(&unsure));
    let said = stderr(&unsure);
    assert!(said.contains("not sure: hosts, machines") && said.contains("--hosts DIR"), "{said}");
    let arguments = ["host", "add", "attic", "--repository", "infra", "--hosts", "machines"];
    let added = without_nix(place.path(), &arguments);
    assert_eq!(added.status.code(), Some(3), "{}", stderr(&added));
    let said = stdout(&added);
    assert!(said.contains("next: git -C infra add bedplate flake.nix machines; Nix"), "{said}");
}

#[test]
fn a_host_is_not_added_to_a_flake_whose_platform_lacks_it() {
    let place = tempfile::tempdir().unwrap();
    let flake = "{\n  inputs.bedplate.url = \"path:/srv/bedplate\";\n  \
        outputs = { bedplate, ... }: { nixosConfigurations = bedplate.lib.hosts ./nix/hosts; };\n}\n";
    fs::write(place.path().join("flake.nix"), flake).unwrap();
    let before = files(place.path());
    let output = without_nix(place.path(), &["host", "add", "attic"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("platform = \"embedded\"; nothing was written"), "{said}");
    assert!(said.contains("path:./bedplate") && said.contains("--platform nixos"), "{said}");
    assert_eq!(files(place.path()), before);
}

#[test]
fn mistakes_of_a_flake_are_told_with_their_place() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("flake.nix"), "{\n  outputs = ;\n}\n").unwrap();
    let output = without_nix(place.path(), &["host", "add", "attic"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: flake.nix:2:13: "), "{}", stderr(&output));
}
