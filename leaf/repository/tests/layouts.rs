//! Repositories that others wrote: a host is added where it belongs, or nothing is written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

#[path = "layouts/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bedplate_model::host::Platform;
use bedplate_repository::change::{Change, Left, Proposal};
use bedplate_repository::error::Error;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::{adopt, read, shipped, write};
use table::{Comes, Layout, whole};
use tempfile::TempDir;

const ID: &str = "3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21";
const EXAMPLE: &str = "00000000-0000-4000-8000-000000000004";

fn document() -> String {
    shipped::profile("hypervisor").unwrap().replace(EXAMPLE, ID)
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn made(layout: &Layout) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let nixpkgs = "inputs.nixpkgs.url = \"path:./nixpkgs\";";
    put(place.path(), "flake.nix", &format!("{{\n  {nixpkgs}\n  {}\n}}\n", layout.flake));
    for (path, text) in layout.files {
        put(place.path(), path, if text.is_empty() { "{ }\n" } else { text });
    }
    place
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(directory: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &format!("{name}/"), into);
            } else {
                into.insert(name, fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(root, "", &mut found);
    found
}

fn decide(root: &Path, name: &str, hosts: Option<&str>) -> Result<Proposal, Error> {
    let document = document();
    let request = NewHost { name, document: &document, ..NewHost::default() };
    host::decide(&read::facts(root, hosts)?, &request)
}

fn added(proposal: &Proposal) -> String {
    let lines = proposal.changes.iter().flat_map(Change::lines);
    lines.flat_map(|line| line.added).collect::<Vec<_>>().join("\n")
}

fn printed(proposal: &Proposal) -> String {
    let lines = proposal.left.iter().filter_map(|left| match left {
        Left::Lines { lines, .. } => Some(lines.join("\n")),
        _ => None,
    });
    lines.collect()
}

fn holds(layout: &Layout) {
    let place = made(layout);
    let (root, name) = (place.path(), layout.name);
    let before = files(root);
    for (host, said) in layout.taken {
        let error = decide(root, host, None).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("nothing was written"), "{name}: {error}");
    }
    let decided = decide(root, "box", None);
    assert_eq!(files(root), before, "{name}: deciding writes nothing");
    match (&layout.comes, decided) {
        (Comes::Refuses(said), Err(error)) => {
            let error = error.to_string();
            assert!(error.contains(said), "{name}: {error}");
            assert!(error.contains("nothing was written"), "{name}: {error}");
        }
        (Comes::Adds(directory, line), Ok(proposal)) => {
            assert_eq!(proposal.host.directory, format!("{directory}/box"), "{name}");
            assert_eq!(printed(&proposal), "", "{name}");
            let (found, line) = (added(&proposal), whole(line));
            assert!(found.contains(&line), "{name}: {found}");
            assert_eq!(found.contains("lib.host"), !line.is_empty(), "{name}: {found}");
            write::write(root, &proposal.changes).unwrap();
            let again = decide(root, "box", None).unwrap_err();
            assert!(matches!(again, Error::Occupied { .. }), "{name}: {again}");
            for (host, _) in layout.taken {
                let still = decide(root, host, None).unwrap_err();
                assert!(
                    matches!(still, Error::InFlake { .. } | Error::Occupied { .. }),
                    "{name}: {still}"
                );
            }
        }
        (Comes::Prints(directory, line), Ok(proposal)) => {
            assert_eq!(proposal.host.directory, format!("{directory}/box"), "{name}");
            let (found, line) = (printed(&proposal), whole(line));
            assert!(found.contains(&line), "{name}: {found}");
            assert!(!added(&proposal).contains("lib.host"), "{name}");
        }
        (_, Ok(proposal)) => panic!("{name}: {proposal}{:?}", proposal.left),
        (_, Err(error)) => panic!("{name}: {error}"),
    }
}

#[test]
fn hosts_that_are_written_out_are_seen_whatever_stands_around_them() {
    table::WRITTEN.iter().for_each(holds);
}

#[test]
fn hosts_that_are_computed_are_followed_or_refused() {
    table::COMPUTED.iter().for_each(holds);
}

#[test]
fn each_framework_gets_what_it_makes_hosts_of() {
    table::FRAMEWORKS.iter().for_each(holds);
}

const WRITTEN: &str = "{\n  outputs = inputs: {\n    nixosConfigurations = {\n      loft = ./hosts/loft; # one\n    };\n  };\n}\n";

fn written() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    put(place.path(), "flake.nix", WRITTEN);
    put(place.path(), "hosts/loft/configuration.nix", "{ }\n");
    place
}

#[test]
fn line_ends_are_kept() {
    let place = written();
    put(place.path(), "flake.nix", &WRITTEN.replace('\n', "\r\n"));
    let proposal = decide(place.path(), "box", None).unwrap();
    write::write(place.path(), &proposal.changes).unwrap();
    let after = fs::read_to_string(place.path().join("flake.nix")).unwrap();
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    assert!(after.contains("# one\r\n      box = inputs.bedplate"), "{after:?}");
    assert!(!after.contains("\r\r"), "{after:?}");
}

#[test]
fn whoever_else_lists_the_directory_is_told_of() {
    let place = written();
    put(place.path(), "checks.nix", "{ }:\n  builtins.attrNames (builtins.readDir ./hosts)\n");
    put(place.path(), "hosts/default.nix", "builtins.readDir ./.");
    put(place.path(), "other.nix", "builtins.readDir ./modules");
    let proposal = decide(place.path(), "box", None).unwrap();
    let places = proposal.left.iter().filter_map(|left| match left {
        Left::Seen { place, directory } => Some((place.as_str(), directory.as_str())),
        _ => None,
    });
    let expected = [("checks.nix:2:23", "hosts"), ("hosts/default.nix:1:1", "hosts")];
    assert_eq!(places.collect::<Vec<_>>(), expected);
}

#[test]
fn t15_links_and_other_repositories_are_not_written_into() {
    let linked = written();
    fs::rename(linked.path().join("hosts"), linked.path().join("real")).unwrap();
    symlink("real", linked.path().join("hosts")).unwrap();
    let flake = written();
    fs::rename(flake.path().join("flake.nix"), flake.path().join("real.nix")).unwrap();
    symlink("real.nix", flake.path().join("flake.nix")).unwrap();
    let host = written();
    symlink("/nowhere", host.path().join("hosts/box")).unwrap();
    let submodule = written();
    put(submodule.path(), "hosts/.git", "gitdir: ../.git/modules/hosts\n");
    let unfetched = written();
    let modules = "[submodule \"hosts\"]\n\tpath = hosts\n\turl = ../hosts\n";
    put(unfetched.path(), ".gitmodules", modules);
    for (place, hosts, said) in [
        (&unfetched, None, "hosts is a submodule"),
        (&unfetched, Some("hosts/inner"), "hosts is a submodule"),
        (&linked, None, "hosts is a link"),
        (&linked, Some("hosts"), "hosts is a link"),
        (&flake, None, "flake.nix is a link"),
        (&host, None, "hosts/box is there already"),
        (&submodule, None, "hosts is a submodule"),
    ] {
        let before = files(place.path());
        let error = decide(place.path(), "box", hosts).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("nothing was written"), "{error}");
        assert_eq!(files(place.path()), before);
    }
    let real = decide(linked.path(), "box", Some("real")).unwrap();
    assert_eq!(real.host.directory, "real/box");
}

#[test]
fn ten_thousand_hosts_are_looked_at_in_a_moment() {
    let place = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..10_000).map(|number| format!("h{number:05}")).collect();
    let entries: String =
        names.iter().map(|name| format!("      {name} = ./hosts/{name};\n")).collect();
    let flake =
        format!("{{ outputs = inputs: {{ nixosConfigurations = {{\n{entries}    }}; }}; }}\n");
    put(place.path(), "flake.nix", &flake);
    for name in names.iter().step_by(10) {
        put(place.path(), &format!("hosts/{name}/default.nix"), "{ }\n");
    }
    let start = std::time::Instant::now();
    assert!(matches!(decide(place.path(), "h09999", None), Err(Error::InFlake { .. })));
    let proposal = decide(place.path(), "box", None).unwrap();
    assert!(added(&proposal).contains("box = inputs."), "{}", added(&proposal));
    // Seconds where nothing is optimised and others work, too; it was a minute and more.
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

fn of_nixos(root: &Path, name: &str, address: Option<&str>) -> Result<Proposal, Error> {
    let document = document();
    let request = NewHost { name, document: &document, address, ..NewHost::default() };
    adopt::decide(&read::facts(root, None)?, &request)
}

#[test]
fn a_host_that_is_there_is_taken_over() {
    let place = written();
    let refused = decide(place.path(), "loft", None).unwrap_err().to_string();
    assert!(refused.contains("`bedplate host add loft --adopt`"), "{refused}");
    let proposal = of_nixos(place.path(), "loft", Some("path:/srv/bedplate")).unwrap();
    assert!(added(&proposal).contains("bedplate.url = \"path:/srv/bedplate\";"), "{proposal}");
    assert!(!added(&proposal).contains("lib.host"), "{proposal}");
    insta::assert_snapshot!("adopted", printed(&proposal));
    write::write(place.path(), &proposal.changes).unwrap();
    let kept = fs::read_to_string(place.path().join("hosts/loft/configuration.nix")).unwrap();
    assert_eq!(kept, "{ }\n");
    let document = fs::read_to_string(place.path().join("hosts/loft/host.toml")).unwrap();
    assert!(document.contains("platform = \"nixos\""), "{document}");
    let again = of_nixos(place.path(), "loft", None).unwrap_err();
    assert!(matches!(again, Error::Adopted { .. }), "{again}");
    let none = of_nixos(place.path(), "shed", None).unwrap_err();
    assert!(matches!(none, Error::NothingToAdopt { .. }), "{none}");
}

#[test]
fn a_host_that_is_taken_over_stays_one_of_nixos_and_its_input_may_be_missing() {
    let place = written();
    let document = document();
    let platform = Some(Platform::Embedded);
    let request = NewHost { name: "loft", document: &document, platform, ..NewHost::default() };
    let error = adopt::decide(&read::facts(place.path(), None).unwrap(), &request).unwrap_err();
    assert!(matches!(error, Error::AdoptEmbedded), "{error}");
    let proposal = of_nixos(place.path(), "loft", None).unwrap();
    assert!(printed(&proposal).contains("inputs.bedplate.url ="), "{}", printed(&proposal));
    assert!(proposal.changes.iter().all(|change| !matches!(change, Change::Edit { .. })));
}

#[test]
fn a_host_of_nixos_is_offered_the_call_of_the_others() {
    let place = tempfile::tempdir().unwrap();
    let flake = "{ outputs = { nixpkgs, ... }@inputs: { nixosConfigurations.loft = nixpkgs.lib.nixosSystem { specialArgs = { inherit inputs; mine = 1; }; modules = [ ./hosts/loft ]; }; }; }";
    put(place.path(), "flake.nix", flake);
    put(place.path(), "hosts/loft/default.nix", "{ }\n");
    let document = document();
    let request = NewHost {
        name: "box",
        document: &document,
        platform: Some(Platform::Nixos),
        address: Some("path:/srv/bedplate"),
        ..NewHost::default()
    };
    let facts = read::facts(place.path(), None).unwrap();
    let proposal = host::decide(&facts, &request).unwrap();
    let offered = proposal.left.iter().find_map(|left| match left {
        Left::Offer { lines, .. } => Some(lines.join("\n")),
        _ => None,
    });
    assert_eq!(
        offered.unwrap(),
        "box = nixpkgs.lib.nixosSystem { specialArgs = { inherit inputs; mine = 1; }; modules = [ inputs.bedplate.nixosModules.default { bedplate.document = ./hosts/box/host.toml; } ]; };"
    );
}
