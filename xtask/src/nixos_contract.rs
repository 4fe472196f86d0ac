//! `cargo xtask nixos-contract`: what the NixOS module takes for granted of a nixpkgs, read from one and written
//! down, so that tests can hold the module to it where there is none.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cargo::line;
use crate::report::Problem;

/// Reads the nixpkgs in the directory `NIXPKGS` and writes `nix/nixos/contract.json`. An option or a package that it
/// does not have is a failure, and nothing is written.
pub fn write() -> Result<(), Problem> {
    let directory = env::var_os("NIXPKGS").map(PathBuf::from).ok_or(Problem::NoNixpkgs)?;
    let nix = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/nixos");
    let mut command = Command::new("nix-instantiate");
    command
        .args(["--eval", "--strict", "--json"])
        .arg(nix.join("tests/contract.nix"))
        .args(["--arg", "nixpkgs"])
        .arg(&directory);
    let start = |source| Problem::Start(line(&command), source);
    let answer =
        Command::new("nix-instantiate").args(command.get_args()).output().map_err(start)?;
    if !answer.status.success() {
        eprint!("{}", String::from_utf8_lossy(&answer.stderr));
        return Err(Problem::Failed(line(&command), answer.status));
    }
    let contract: Value = serde_json::from_slice(&answer.stdout).map_err(|error| {
        Problem::Contract(vec![format!("nix-instantiate gave no JSON: {error}")])
    })?;
    let broken = broken(&contract);
    if !broken.is_empty() {
        return Err(Problem::Contract(broken));
    }
    let file = nix.join("contract.json");
    let text = format!("{contract:#}\n");
    fs::write(&file, text).map_err(|source| Problem::Directory(file.clone(), source))?;
    let count = |what: &str| contract[what].as_object().map_or(0, serde_json::Map::len);
    let (options, packages) = (count("options"), count("packages"));
    println!(
        "{}: {options} options, {packages} packages of nixpkgs {}",
        file.display(),
        contract["release"]
    );
    Ok(())
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
}
