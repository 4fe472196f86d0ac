//! `cargo xtask nixos-contract`: what the NixOS module takes for granted of a nixpkgs, read from one and written
//! down, so that tests can hold the module to it where there is none.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cargo::line;
use crate::report::Problem;

/// Reads the nixpkgs in the directory `NIXPKGS` and writes `nix/nixos/contract.json` and `nix/nixos/recorded.json`.
/// An option or a package that it does not have, or an assertion that fails for one of the documents, is a failure,
/// and nothing is written.
pub fn write() -> Result<(), Problem> {
    let nixpkgs = env::var_os("NIXPKGS").map(PathBuf::from).ok_or(Problem::NoNixpkgs)?;
    let nix = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/nixos");
    let contract = evaluated(&nix.join("tests/contract.nix"), &nixpkgs)?;
    refuse(broken(&contract))?;
    eprintln!("xtask: evaluating NixOS for each document takes some minutes");
    let recorded = evaluated(&nix.join("tests/recorded.nix"), &nixpkgs)?;
    refuse(failed(&recorded))?;
    for (name, value) in [("contract.json", &contract), ("recorded.json", &recorded)] {
        let file = nix.join(name);
        let text = format!("{value:#}\n");
        fs::write(&file, text).map_err(|source| Problem::Directory(file.clone(), source))?;
    }
    let count = |of: &Value| of.as_object().map_or(0, serde_json::Map::len);
    println!(
        "{}: {} options, {} packages and {} documents by nixpkgs {}",
        nix.display(),
        count(&contract["options"]),
        count(&contract["packages"]),
        count(&recorded["documents"]),
        contract["release"]
    );
    Ok(())
}

/// What an expression says of a nixpkgs.
fn evaluated(expression: &Path, nixpkgs: &Path) -> Result<Value, Problem> {
    let mut command = Command::new("nix-instantiate");
    command.args(["--eval", "--strict", "--json"]).arg(expression);
    command.args(["--arg", "nixpkgs"]).arg(nixpkgs);
    let answer = command.output().map_err(|source| Problem::Start(line(&command), source))?;
    if !answer.status.success() {
        eprint!("{}", String::from_utf8_lossy(&answer.stderr));
        return Err(Problem::Failed(line(&command), answer.status));
    }
    serde_json::from_slice(&answer.stdout)
        .map_err(|error| Problem::Contract(vec![format!("nix-instantiate gave no JSON: {error}")]))
}

fn refuse(broken: Vec<String>) -> Result<(), Problem> {
    if broken.is_empty() { Ok(()) } else { Err(Problem::Contract(broken)) }
}

/// Assertions of NixOS that do not hold for a document.
fn failed(recorded: &Value) -> Vec<String> {
    let documents = recorded["documents"].as_object().into_iter().flatten();
    let messages = documents.flat_map(|(name, said)| {
        let failed = said["failed"].as_array().into_iter().flatten();
        failed.map(move |message| format!("{name}: {}", message.as_str().unwrap_or_default()))
    });
    messages.collect()
}

/// What is taken for granted and is not there.
fn broken(contract: &Value) -> Vec<String> {
    let each = |what: &str| contract[what].as_object().into_iter().flatten();
    let options = each("options").filter(|(_, found)| found.is_null());
    let options = options.map(|(name, _)| format!("there is no option {name}"));
    let is_missing = |found: &Value| found["version"].is_null() && found["optional"] == false;
    let packages = each("packages").filter(|(_, found)| is_missing(found));
    options.chain(packages.map(|(name, _)| format!("there is no package {name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nixpkgs_does_not_have_is_named() {
        let contract = serde_json::json!({
            "options": { "a.b": { "type": "boolean" }, "a.c": null },
            "packages": {
                "here": { "optional": false, "version": "1" },
                "gone": { "optional": false, "version": null },
                "maybe": { "optional": true, "version": null },
            },
        });
        assert_eq!(broken(&contract), ["there is no option a.c", "there is no package gone"]);
    }

    #[test]
    fn an_assertion_that_does_not_hold_is_named_with_its_document() {
        let recorded = serde_json::json!({
            "documents": { "small": { "failed": [] }, "host": { "failed": ["no stage 1"] } },
        });
        assert_eq!(failed(&recorded), ["host: no stage 1"]);
    }
}
