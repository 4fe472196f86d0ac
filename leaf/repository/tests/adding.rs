//! Hosts added to repositories of each layout: what is decided, written, and written again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_model::host::Platform;
use bedplate_repository::change::{Change, Left, Proposal};
use bedplate_repository::error::Error;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::{init, read, shipped, write};
use tempfile::TempDir;

const ID: &str = "3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21";
const OTHER_ID: &str = "b1946ac9-2f3e-4c5d-8a6b-7c8d9e0f1a2b";
const EXAMPLE: &str = "00000000-0000-4000-8000-000000000004";

fn document(id: &str) -> String {
    shipped::profile("hypervisor").unwrap().replace(EXAMPLE, id)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A copy of one of the fixtures.
fn repository(name: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let fixture: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/repositories", name].iter().collect();
    copy(&fixture, place.path());
    place
}

/// A repository that holds one `flake.nix` and a lock without inputs.
fn of_flake(text: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("flake.nix"), text).unwrap();
    let lock =
        "{\n  \"nodes\": {\n    \"root\": {}\n  },\n  \"root\": \"root\",\n  \"version\": 7\n}\n";
    fs::write(place.path().join("flake.lock"), lock).unwrap();
    place
}

fn decide(root: &Path, name: &str, id: &str) -> Result<Proposal, Error> {
    let facts = read::facts(root, None)?;
    let document = document(id);
    host::decide(
        &facts,
        &NewHost { name, document: &document, description: Some(b"{}"), ..NewHost::default() },
    )
}

fn shown(proposal: &Proposal) -> String {
    let left: String = proposal.left.iter().map(|left| format!("left: {left}")).collect();
    let flake = proposal.changes.iter().find_map(|change| match change {
        Change::Edit { path, after, .. } if path == "flake.nix" => Some(after.as_str()),
        _ => None,
    });
    format!("{proposal}{left}---\n{}", flake.unwrap_or("flake.nix stays as it is\n"))
}

#[test]
fn a_host_is_added_to_each_layout() {
    for name in ["written", "listed", "blueprint_layout"] {
        let place = repository(name);
        let root = place.path();
        let proposal = decide(root, "attic", ID).unwrap();
        insta::assert_snapshot!(name, shown(&proposal));
        write::write(root, &proposal.changes).unwrap();
        let again = decide(root, "attic", OTHER_ID).unwrap_err();
        assert!(matches!(again, Error::Occupied { .. }), "{again}");
        let twin = decide(root, "twin", ID).unwrap_err();
        assert!(matches!(&twin, Error::IdTaken { other, .. } if other == "attic"), "{twin}");
        // The second host finds input, platform and lock in place.
        let second = decide(root, "cellar", OTHER_ID).unwrap();
        let paths: Vec<String> =
            second.changes.iter().flat_map(Change::lines).map(|line| line.path).collect();
        assert!(!paths.iter().any(|path| path.starts_with("bedplate/")), "{paths:?}");
        assert_eq!(paths.contains(&"flake.nix".to_owned()), name != "blueprint_layout");
    }
}

#[test]
fn a_second_host_in_a_repository_of_ours_needs_no_edit() {
    let place = tempfile::tempdir().unwrap();
    let first = document(ID);
    let request =
        NewHost { name: "attic", document: &first, description: Some(b"{}"), ..NewHost::default() };
    write::write(place.path(), &init::decide(&request).unwrap().changes).unwrap();
    let second = decide(place.path(), "cellar", OTHER_ID).unwrap();
    insta::assert_snapshot!("ours", shown(&second));
    assert_eq!(second.host.id.to_string(), OTHER_ID);
}

#[test]
fn an_addition_that_was_cut_off_is_finished_by_the_next() {
    for name in ["written", "listed", "blueprint_layout"] {
        let whole = decide(repository(name).path(), "attic", ID).unwrap().changes;
        for done in 0..whole.len() {
            let place = repository(name);
            let root = place.path();
            write::write(root, whole.get(..done).unwrap()).unwrap();
            let rest = decide(root, "attic", ID).unwrap();
            write::write(root, &rest.changes).unwrap();
            let flake = fs::read_to_string(root.join("flake.nix")).unwrap();
            assert_eq!(flake.matches("path:./bedplate").count(), 1, "{name}, {done}: {flake}");
            let expected = usize::from(name != "blueprint_layout");
            assert_eq!(flake.matches("lib.host \"attic\"").count(), expected, "{name}, {done}");
            assert!(root.join(format!("{}/host.toml", rest.host.directory)).is_file());
        }
    }
}

#[test]
fn a_module_that_stands_elsewhere_is_left_alone_with_the_lines_to_add() {
    let text = "{\n  outputs = inputs: inputs.flake-parts.lib.mkFlake { inherit inputs; } ./parts.nix;\n}\n";
    let place = of_flake(text);
    fs::write(place.path().join("parts.nix"), "{ flake.nixosConfigurations.oracle = 1; }").unwrap();
    let proposal = decide(place.path(), "attic", ID).unwrap();
    insta::assert_snapshot!("by_hand", shown(&proposal));
    assert!(proposal.left.iter().any(|left| matches!(left, Left::Lock { .. })));
    write::write(place.path(), &proposal.changes).unwrap();
    assert_eq!(fs::read_to_string(place.path().join("flake.nix")).unwrap(), text);
    assert!(place.path().join("nix/hosts/attic/host.toml").is_file());
    let taken = decide(place.path(), "oracle", OTHER_ID).unwrap_err().to_string();
    assert!(taken.starts_with("parts.nix:1:29: the flake has a host oracle"), "{taken}");
}

#[test]
fn hosts_that_nobody_can_know_are_refused_with_the_lines_that_end_it() {
    let text = "{\n  outputs = inputs: inputs.parts.lib.mkFlake { } { flake = { }; };\n}\n";
    let place = of_flake(text);
    let error = decide(place.path(), "attic", ID).unwrap_err().to_string();
    insta::assert_snapshot!("unknowable", error);
    // Written in by hand as advised, the host is found, and the rest is done.
    let advised = text.replace("inputs: ", "inputs: let theirs = ").replace(
        "; };\n}",
        "; }; in theirs // { nixosConfigurations = { attic = inputs.bedplate.lib.host \"attic\" \
         ./nix/hosts/attic; } // theirs.nixosConfigurations or { }; };\n}",
    );
    fs::write(place.path().join("flake.nix"), &advised).unwrap();
    let proposal = decide(place.path(), "attic", ID).unwrap();
    write::write(place.path(), &proposal.changes).unwrap();
    assert!(place.path().join("nix/hosts/attic/host.toml").is_file());
    let after = fs::read_to_string(place.path().join("flake.nix")).unwrap();
    assert_eq!(after.matches("lib.host").count(), 1, "{after}");
}

#[test]
fn a_lock_that_lacks_is_left_to_nix() {
    let place = repository("written");
    fs::remove_file(place.path().join("flake.lock")).unwrap();
    let proposal = decide(place.path(), "attic", ID).unwrap();
    let [Left::Lock { command, .. }] = proposal.left.as_slice() else {
        panic!("{:?}", proposal.left)
    };
    assert!(command.ends_with(" flake lock path:."), "{command}");
    let lines = proposal.changes.iter().flat_map(Change::lines);
    assert!(!lines.into_iter().any(|line| line.path == "flake.lock"));
}

#[test]
fn what_stands_in_the_way_is_refused() {
    let none = tempfile::tempdir().unwrap();
    assert!(matches!(decide(none.path(), "attic", ID), Err(Error::NoFlake { .. })));

    let broken = of_flake("{\n  outputs = ;\n}\n");
    let error = decide(broken.path(), "attic", ID).unwrap_err().to_string();
    assert!(error.starts_with("flake.nix:2:13: "), "{error}");

    let written = repository("written");
    let error = decide(written.path(), "oracle", ID).unwrap_err().to_string();
    assert_eq!(
        error,
        "flake.nix:11:7: the flake has a host oracle already; nothing was written\n  help: choose another name, or let it have a host.toml: `bedplate host add oracle --adopt`"
    );
    fs::remove_dir_all(written.path().join("hosts/oracle")).unwrap();
    let error = decide(written.path(), "oracle", ID).unwrap_err().to_string();
    assert!(error.starts_with("flake.nix:11:7: the flake has a host oracle"), "{error}");
    assert!(!error.contains("--adopt"), "{error}");

    let elsewhere = repository("blueprint_layout");
    let facts = read::facts(elsewhere.path(), Some("hosts")).unwrap();
    let document = document(ID);
    let request = NewHost { name: "attic", document: &document, ..NewHost::default() };
    let error = host::decide(&facts, &request).unwrap_err().to_string();
    assert!(
        error.starts_with("the flake lists the hosts in \"nix/hosts\", not in \"hosts\""),
        "{error}"
    );

    let foreign = repository("listed");
    fs::create_dir(foreign.path().join("bedplate")).unwrap();
    assert!(matches!(decide(foreign.path(), "attic", ID), Err(Error::Foreign { .. })));
}

#[test]
fn a_platform_from_elsewhere_has_no_place_for_the_host_and_is_refused() {
    let blueprint = "inputs: inputs.blueprint { inherit inputs; prefix = \"nix\"; }";
    let lister = "{ bedplate, ... }: { nixosConfigurations = bedplate.lib.hosts ./nix/hosts; }";
    for outputs in ["inputs: { nixosConfigurations = { }; }", lister, blueprint] {
        for input in [
            "bedplate.url = \"path:/srv/bedplate\"",
            "bedplate = { url = \"git+file:///srv/bedplate\"; }",
        ] {
            let place = of_flake(&format!("{{ inputs.{input}; outputs = {outputs}; }}"));
            let error = decide(place.path(), "attic", ID).unwrap_err();
            let Error::NotVendored { address } = error else { panic!("{input}: {error}") };
            assert_eq!(address, "path:./bedplate");
        }
    }
}

#[test]
fn t17_directories_of_hosts_that_nix_would_read_as_code_are_refused() {
    for prefix in ["a b/", "\\${x}", "''", "../x/"] {
        let place = of_flake(&format!(
            "{{ outputs = inputs: inputs.blueprint {{ inherit inputs; prefix = \"{prefix}\"; }}; }}"
        ));
        let error = decide(place.path(), "attic", ID).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{prefix}: {error}");
    }
    // What is fit for a path but not for a bare literal of Nix becomes a string.
    let place = of_flake("{ outputs = inputs: { nixosConfigurations = { } // { }; }; }");
    let facts = read::facts(place.path(), Some("my@hosts")).unwrap();
    let document = document(ID);
    let request = NewHost { name: "1st", document: &document, ..NewHost::default() };
    let proposal = host::decide(&facts, &request).unwrap();
    let entry = "// { \"1st\" = inputs.bedplate.lib.host \"1st\" (./. + \"/my@hosts/1st\"); }";
    assert!(shown(&proposal).contains(entry), "{}", shown(&proposal));
}

fn of_nixos(root: &Path, id: &str, address: Option<&str>) -> Result<Proposal, Error> {
    let facts = read::facts(root, None)?;
    let name = if id == ID { "attic" } else { "cellar" };
    let document = document(id);
    let platform = Some(Platform::Nixos);
    host::decide(
        &facts,
        &NewHost { name, document: &document, platform, address, ..NewHost::default() },
    )
}

#[test]
fn a_host_of_nixos_is_added_to_each_layout() {
    for name in ["written", "listed", "blueprint_layout"] {
        let place = repository(name);
        let proposal = of_nixos(place.path(), ID, Some("path:/srv/bedplate")).unwrap();
        insta::assert_snapshot!(format!("nixos_{name}"), shown(&proposal));
        assert!(matches!(proposal.left.first(), Some(Left::Lock { .. })), "{:?}", proposal.left);
        // No lock is touched: the input's hash is Nix's to find.
        let lines = proposal.changes.iter().flat_map(Change::lines);
        assert!(lines.into_iter().all(|line| line.path != "flake.lock"));
        write::write(place.path(), &proposal.changes).unwrap();
        // The second one finds the input, so nobody has to say where it is.
        let second = of_nixos(place.path(), OTHER_ID, None).unwrap();
        let locked = place.path().join("flake.lock").exists();
        let lock = second.left.iter().any(|left| matches!(left, Left::Lock { .. }));
        assert_eq!(lock, !locked, "{name}: {:?}", second.left);
    }
}

#[test]
fn a_host_of_nixos_needs_the_flake_with_its_module() {
    let place = repository("written");
    assert!(matches!(of_nixos(place.path(), ID, None), Err(Error::NoAddress)));
    let relative = of_nixos(place.path(), ID, Some("path:../bedplate"));
    assert!(matches!(relative, Err(Error::Address { .. })));
    let vendored = tempfile::tempdir().unwrap();
    let first = document(OTHER_ID);
    let request = NewHost { name: "cellar", document: &first, ..NewHost::default() };
    write::write(vendored.path(), &init::decide(&request).unwrap().changes).unwrap();
    let error = of_nixos(vendored.path(), ID, Some("path:/srv/bedplate")).unwrap_err();
    assert!(matches!(error, Error::Vendored { .. }), "{error}");
}
