//! Hosts of NixOS, up to where NixOS itself begins: nixpkgs cannot be had here, and a flake of the
//! same names stands for it.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_model::host::Platform;
use bedplate_repository::change::Left;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::{init, read, write};
use bedplate_tests::medium::Workspace;
use serde_json::{Value, json};

use super::{Evaluation, copy, document, evaluation, parses};

/// This project's own flake with what it needs, and nothing that was built.
fn own_flake(nix: &Evaluation) -> String {
    let (from, to) = (Workspace::own().root, nix.place().join("project"));
    copy(&from.join("nix"), &to.join("nix"));
    fs::copy(from.join("flake.nix"), to.join("flake.nix")).unwrap();
    format!("path:{}", to.display())
}

fn stand_in(root: &Path) {
    let fixtures = Workspace::own().root.join("leaf/repository/tests/repositories");
    copy(&fixtures.join("nixpkgs-stand-in"), &root.join("stand-in"));
}

/// The host is evaluated as its flake has it, with the module and its own document.
fn is_whole(nix: &Evaluation, root: &Path, name: &str) {
    let config = |attribute: &str| {
        let attribute = format!("nixosConfigurations.{name}.config.{attribute}");
        nix.attribute(root, &attribute).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let host = config("bedplate.host.host");
    assert_eq!((&host["name"], &host["platform"]), (&json!(name), &json!("nixos")));
    assert_eq!(config("imports"), json!(["module.nix"]));
    assert_eq!(config("failed"), json!([]), "directory and name agree");
}

#[test]
fn a_new_repository_of_nixos_is_locked_by_nix_and_hands_each_host_to_the_module() {
    let nix = evaluation();
    let (address, document) = (own_flake(&nix), document());
    let root: PathBuf = nix.place().join("nixos");
    let request = NewHost {
        name: "attic",
        document: &document,
        platform: Some(Platform::Nixos),
        address: Some(&address),
        ..NewHost::default()
    };
    write::write(&root, &init::decide(&request).unwrap().changes).unwrap();
    assert!(!root.join("flake.lock").exists());
    let flake = fs::read_to_string(root.join("flake.nix")).unwrap();
    let offline = flake.replace("github:NixOS/nixpkgs/nixos-26.05", "path:./stand-in");
    assert_ne!(offline, flake);
    fs::write(root.join("flake.nix"), offline).unwrap();
    stand_in(&root);
    nix.lock(&root).unwrap();
    is_whole(&nix, &root, "attic");
    parses(&nix, &root, 3);

    let facts = read::facts(&root, None).unwrap();
    let request = NewHost { name: "cellar", address: None, ..request };
    let error = host::decide(&facts, &request).unwrap_err().to_string();
    assert!(error.contains("\"attic\" has the id"), "{error}");
    let second = super::document();
    let proposal = host::decide(&facts, &NewHost { document: &second, ..request }).unwrap();
    assert_eq!(proposal.left, []);
    write::write(&root, &proposal.changes).unwrap();
    is_whole(&nix, &root, "cellar");
    is_whole(&nix, &root, "attic");
}

#[test]
fn a_host_of_nixos_in_each_layout_evaluates_beside_those_that_are_there() {
    let nix = evaluation();
    let (address, document) = (own_flake(&nix), document());
    let fixtures = Workspace::own().root.join("leaf/repository/tests/repositories");
    let lister = nix.place().join("directory-lister");
    copy(&fixtures.join("directory-lister"), &lister);
    for layout in ["written", "listed", "blueprint_layout"] {
        let root = nix.place().join(format!("nixos-{layout}"));
        copy(&fixtures.join(layout), &root);
        stand_in(&root);
        let flake = fs::read_to_string(root.join("flake.nix")).unwrap();
        let flake = flake.replace("@directory-lister@", &lister.display().to_string());
        fs::write(root.join("flake.nix"), flake).unwrap();
        nix.lock(&root).unwrap();
        let oracle = || -> Value {
            nix.attribute(&root, "nixosConfigurations.oracle.config.modules").unwrap()
        };
        let before = oracle();

        let facts = read::facts(&root, None).unwrap();
        let request = NewHost {
            name: "attic",
            document: &document,
            platform: Some(Platform::Nixos),
            address: Some(&address),
            ..NewHost::default()
        };
        let proposal = host::decide(&facts, &request).unwrap();
        assert!(matches!(proposal.left.first(), Some(Left::Lock { .. })), "{:?}", proposal.left);
        write::write(&root, &proposal.changes).unwrap();
        nix.lock(&root).unwrap();
        is_whole(&nix, &root, "attic");
        assert_eq!(oracle(), before, "{layout}");
        assert!(!root.join("bedplate").exists(), "nothing is vendored");
    }
}
