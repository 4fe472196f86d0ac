//! What the NixOS module sets and is built with is in nixpkgs: `nix/nixos/contract.json` was read from one
//! (`NIXPKGS=DIR cargo xtask nixos-contract`), and the module is held to it where there is none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Files that nixpkgs calls with what they ask for.
const PACKAGES: [&str; 4] =
    ["bedplate.nix", "bedplate-host.nix", "bedplate-installer.nix", "build.nix"];

fn read(file: &str) -> String {
    let nix = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/nixos");
    fs::read_to_string(nix.join(file)).unwrap()
}

fn contract() -> Value {
    serde_json::from_str(&read("contract.json")).unwrap()
}

/// What a package asks for, and whether it goes without.
fn arguments(text: &str) -> BTreeMap<String, bool> {
    let code: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let list = code.split_once('{').unwrap().1.split_once("}:").unwrap().0;
    let asked = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    let asked =
        asked.map(|word| word.split_once('?').map_or((word, false), |(name, _)| (name, true)));
    asked.map(|(name, optional)| (name.trim().to_owned(), optional)).collect()
}

/// The options that options.md lists, each a cell in backticks; what is of a set of units is declared for all of
/// them.
fn options(text: &str) -> Vec<String> {
    // What follows is no list of options.
    let text = text.split("\nWhat else").next().unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| !name.contains(' ') && name.contains('.'))
        .collect()
}

#[test]
fn the_lists_are_read() {
    let text = "# A {\n{\n  lib,\n  git,\n  tool ? null,\n}:\nlet\n";
    let wanted = [("git", false), ("lib", false), ("tool", true)];
    assert_eq!(arguments(text), wanted.map(|(name, it)| (name.to_owned(), it)).into());
    let text = "| option | type |\n|---|---|\n| `a.b` | bool |\n| `a.c`, `a.d` | int |\n";
    assert_eq!(options(text), ["a.b", "a.c", "a.d"]);
}

#[test]
fn every_package_that_a_program_asks_for_is_in_nixpkgs() {
    let contract = contract();
    let mut asked = 0;
    for (name, optional) in PACKAGES.iter().flat_map(|file| arguments(&read(file))) {
        if ["lib", "callPackage"].contains(&name.as_str()) {
            continue;
        }
        let found = &contract["packages"][&name];
        assert!(found.is_object(), "{name} was not looked for: cargo xtask nixos-contract");
        assert!(optional || found["version"].is_string(), "nixpkgs has no {name}");
        assert_eq!(found["optional"], optional, "{name}");
        asked += 1;
    }
    assert!(asked > 25, "{asked}");
}

#[test]
fn every_option_that_the_module_sets_is_in_nixos() {
    let contract = contract();
    let known = contract["options"].as_object().unwrap();
    let listed = options(&read("options.md"));
    assert!(listed.len() > 60, "{listed:?}");
    // Of sops-nix, and set only where it is imported.
    for name in listed.iter().filter(|name| !name.starts_with("sops.")) {
        // A set of submodules by what is in them, a set of free form by itself.
        let is_it = |key: &String| {
            key.starts_with(&format!("{name}."))
                || name.starts_with(&format!("{key}."))
                || key == name
        };
        let found = known.keys().any(is_it);
        assert!(found, "{name} was not looked for: cargo xtask nixos-contract");
    }
    for (name, found) in known {
        assert!(found.is_object(), "NixOS has no option {name}");
        let is_listed = listed.iter().any(|it| it == name || it.starts_with(&format!("{name}.")));
        assert!(
            is_listed || name == "assertions" || name == "warnings",
            "{name} is not in options.md"
        );
    }
}
