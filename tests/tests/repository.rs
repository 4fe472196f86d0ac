//! What `bedplate init` and `bedplate host add` write is evaluated and built by Nix itself, offline. Run
//! by name; without a platform in the cache it fails, because it would say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

#[path = "repository/embedded.rs"]
mod embedded;
#[path = "repository/enrolled.rs"]
mod enrolled;
#[path = "repository/nixos.rs"]
mod nixos;

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_image_builder::identity::with_own_id;
use bedplate_repository::change::Left;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::{init, literal, read, shipped, write};
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::medium::Workspace;
use serde_json::{Value, json};

fn evaluation() -> Evaluation {
    Evaluation::obtain().unwrap_or_else(|failure| {
        panic!("NOT TESTED: no Nix to evaluate with (make a medium first): {}", failure.chain())
    })
}

/// What code is in other languages, where a document may hold anything.
const COMMENT: &str = "# ${builtins.throw \"x\"} ''${y}'' \"q\" '' \\ `z` $(id)\n";

fn document() -> String {
    let profile = shipped::profile("hypervisor").unwrap();
    with_own_id(&format!("{COMMENT}{profile}")).unwrap().unwrap().0
}

/// A new repository at `name`, with a host of that name.
fn initialised(nix: &Evaluation, name: &str, description: Option<&str>) -> PathBuf {
    let (root, document) = (nix.place().join(name), document());
    let description = description.map(str::as_bytes);
    let proposal =
        init::decide(&NewHost { name, document: &document, description, ..NewHost::default() })
            .unwrap();
    write::write(&root, &proposal.changes).unwrap();
    root
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, target) =
            entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

fn nix_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            nix_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            found.push(path);
        }
    }
}

fn parses(nix: &Evaluation, directory: &Path, least: usize) {
    let mut files = Vec::new();
    nix_files(directory, &mut files);
    assert!(files.len() >= least, "{files:?}");
    files.iter().for_each(|path| parses_alone(nix, path));
}

fn parses_alone(nix: &Evaluation, path: &Path) {
    nix.parse(path).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert!(rnix::Root::parse(&text).errors().is_empty(), "{}", path.display());
}

fn toplevel(nix: &Evaluation, root: &Path, name: &str) -> Value {
    let attribute = format!("nixosConfigurations.{name}.config.system.build.toplevel.drvPath");
    nix.attribute(root, &attribute).unwrap()
}

#[test]
fn t17_a_new_repository_evaluates_as_it_is_whatever_its_document_s_comments_say() {
    let nix = evaluation();
    let root = initialised(&nix, "attic", Some(&nix.description().unwrap()));
    let derivation = toplevel(&nix, &root, "attic");
    let derivation = derivation.as_str().unwrap();
    assert!(derivation.ends_with("-bedplate-system-attic.drv"), "{derivation}");
    let host = nix.attribute(&root, "nixosConfigurations.attic.config.bedplate.host").unwrap();
    assert_eq!((&host["name"], &host["platform"]), (&json!("attic"), &json!("embedded")));
    parses(&nix, &root, 4);
    // Nix has nothing to add to the lock that came along.
    nix.lock(&root).unwrap();
    assert_eq!(fs::read_to_string(root.join("flake.lock")).unwrap(), shipped::LOCK);
}

#[test]
fn without_a_medium_everything_but_the_system_evaluates_and_that_says_why() {
    let nix = evaluation();
    let root = initialised(&nix, "attic", None);
    let name = nix.attribute(&root, "nixosConfigurations.attic.config.bedplate.host.name");
    assert_eq!(name.unwrap(), json!("attic"));
    let attribute = "nixosConfigurations.attic.config.system.build.toplevel.drvPath";
    let error = nix.attribute(&root, attribute).unwrap_err().to_string();
    assert!(error.contains("bedplate/platform.json is not there"), "{error}");
}

#[test]
fn a_host_added_to_each_layout_evaluates_beside_those_that_are_there() {
    let nix = evaluation();
    let description = nix.description().unwrap();
    let fixtures = Workspace::own().root.join("leaf/repository/tests/repositories");
    let lister = nix.place().join("directory-lister");
    copy(&fixtures.join("directory-lister"), &lister);
    for layout in ["written", "listed", "blueprint_layout"] {
        let root = nix.place().join(layout);
        copy(&fixtures.join(layout), &root);
        let flake = fs::read_to_string(root.join("flake.nix")).unwrap();
        let flake = flake.replace("@directory-lister@", &lister.display().to_string());
        fs::write(root.join("flake.nix"), flake).unwrap();
        nix.lock(&root).unwrap();
        let oracle = || nix.attribute(&root, "nixosConfigurations.oracle.config.modules").unwrap();
        let before = oracle();
        assert_eq!(before, json!([{ "networking": { "hostName": "oracle" } }]));

        let (facts, document) = (read::facts(&root, None).unwrap(), document());
        let description = Some(description.as_bytes());
        let request =
            NewHost { name: "attic", document: &document, description, ..NewHost::default() };
        let proposal = host::decide(&facts, &request).unwrap();
        // What lists the directory for itself is told of, and nothing else is left.
        let told: Vec<_> =
            proposal.left.iter().filter(|left| !matches!(left, Left::Seen { .. })).collect();
        assert!(told.is_empty(), "{layout}: {told:?}");
        write::write(&root, &proposal.changes).unwrap();

        let derivation = toplevel(&nix, &root, "attic");
        assert!(derivation.as_str().unwrap().ends_with("-bedplate-system-attic.drv"), "{layout}");
        // What listers, checks and deploy tools ask of every host of a flake.
        let asked = |of: &str| nix.attribute(&root, &format!("nixosConfigurations.attic.{of}"));
        for of in
            ["pkgs.system", "pkgs.stdenv.hostPlatform.system", "config.nixpkgs.hostPlatform.system"]
        {
            assert_eq!(asked(of).unwrap(), json!("x86_64-linux"), "{of}");
        }
        assert_eq!(asked("config.networking.hostName").unwrap(), json!("attic"));
        assert_eq!(oracle(), before, "{layout}");
        parses(&nix, &root, 6);
        // The lock is to the byte what Nix would have made of it.
        let ours = fs::read_to_string(root.join("flake.lock")).unwrap();
        fs::write(root.join("flake.lock"), facts.lock.unwrap()).unwrap();
        nix.lock(&root).unwrap();
        assert_eq!(fs::read_to_string(root.join("flake.lock")).unwrap(), ours, "{layout}");
    }
}

#[test]
fn every_nix_file_that_is_shipped_parses() {
    let (nix, root) = (evaluation(), Workspace::own().root);
    parses(&nix, &root.join("nix"), 5);
    parses_alone(&nix, &root.join("flake.nix"));
}

#[test]
fn t17_strings_and_paths_are_what_nix_reads() {
    let nix = evaluation();
    let hostile = ["${x}", "$${x}", "''${x}''", "a\"b", "a\nb\r\t", "\\", "\\${x}", "$", "''", "é"];
    let literals: Vec<String> = hostile.iter().map(|text| literal::string(text)).collect();
    let read = nix.expression(&format!("[ {} ]", literals.join(" "))).unwrap();
    assert_eq!(read, json!(hostile));
    let names: Vec<String> =
        hostile.iter().map(|name| format!("{} = 1;", literal::attribute(name))).collect();
    let set = format!("builtins.length (builtins.attrNames {{ {} }})", names.join(" "));
    assert_eq!(nix.expression(&set).unwrap(), json!(hostile.len()));
}
