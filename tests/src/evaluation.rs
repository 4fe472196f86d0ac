//! Evaluating repositories with the Nix of the tree that media are made of: offline, with a store
//! of its own, on a machine that has no Nix. The tree is only read.

use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_image_builder::tree_nix::TreePrograms;
use bedplate_tools::command::{CommandError, CommandExt as _};
use tempfile::TempDir;

use crate::failure::{Failure, file};
use crate::medium::Workspace;

/// Names another directory of platforms than the workspace's own.
pub const CACHE: &str = "BEDPLATE_CACHE";

/// Nix with an empty store.
pub struct Evaluation {
    programs: TreePrograms,
    place: TempDir,
}

impl Evaluation {
    /// The Nix of the platform in the cache; an error when there is none.
    pub fn obtain() -> Result<Self, Failure> {
        let cache = std::env::var_os(CACHE).map_or_else(|| Workspace::own().cache(), PathBuf::from);
        let tree = Workspace::tree_in(&cache)?;
        let place = tempfile::tempdir().map_err(file("make", &std::env::temp_dir()))?;
        Ok(Self { programs: TreePrograms::new(&tree), place })
    }

    /// A place for repositories.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    fn nix(&self, arguments: &[&str]) -> Command {
        let mut command = self.programs.command("usr/bin/nix", "nix");
        command.args(["--extra-experimental-features", "nix-command flakes"]);
        command.args(arguments).arg("--store").arg(self.place.path().join("store"));
        command.env("HOME", self.place.path().join("home")).env_remove("XDG_CACHE_HOME");
        command
    }

    /// An attribute of the flake as JSON. Neither the network nor the lock is touched.
    pub fn attribute(
        &self,
        flake: &Path,
        attribute: &str,
    ) -> Result<serde_json::Value, CommandError> {
        let reference = format!("path:{}#{attribute}", flake.display());
        json(&mut self.nix(&["eval", "--json", "--offline", "--no-update-lock-file", &reference]))
    }

    /// The value of an expression.
    pub fn expression(&self, expression: &str) -> Result<serde_json::Value, CommandError> {
        json(&mut self.nix(&["eval", "--json", "--offline", "--expr", expression]))
    }

    /// Has Nix lock the flake, offline.
    pub fn lock(&self, flake: &Path) -> Result<(), CommandError> {
        self.nix(&["flake", "lock", "--offline", &format!("path:{}", flake.display())]).run()
    }

    /// Has Nix's own parser read a file.
    pub fn parse(&self, path: &Path) -> Result<(), CommandError> {
        let mut command = self.programs.command("usr/bin/nix", "nix-instantiate");
        command.arg("--parse").arg(path).run()
    }

    /// A `platform.json` whose paths are in the store, each a small file in the place of what a
    /// medium brings.
    pub fn description(&self) -> Result<String, Failure> {
        let parts = [
            ("tree", "bedplate-tree"),
            ("initrdModules", "bedplate-initrd-modules"),
            ("runtime", "bedplate-runtime"),
            ("programs", "bedplate-programs"),
            ("initrdProgram", "bedplate-initrd-program"),
        ];
        let mut description = serde_json::json!({ "kernelVersion": "6.12.0" });
        for (key, name) in parts {
            let part = self.place.path().join(name);
            std::fs::write(&part, name).map_err(file("write", &part))?;
            let shown = part.display().to_string();
            let failed = |error: CommandError| Failure::Unfit(error.to_string());
            let add = ["store", "add", "--mode", "nar", "--name", name, &shown];
            let path = self.nix(&add).read().map_err(failed)?;
            let hash = self.nix(&["hash", "path", "--sri", &shown]).read().map_err(failed)?;
            description[key] =
                serde_json::json!({ "name": name, "path": path.trim(), "hash": hash.trim() });
        }
        Ok(description.to_string())
    }
}

fn json(command: &mut Command) -> Result<serde_json::Value, CommandError> {
    let text = command.read()?;
    serde_json::from_str(&text)
        .map_err(|_| CommandError::NotText { program: "nix eval --json".to_owned() })
}
