//! Evaluating and building repositories with the Nix of the tree that media are made of: offline,
//! with a store of its own, on a machine that has no Nix. The tree is only read.

mod platform;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
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
    tree: PathBuf,
    programs: TreePrograms,
    place: TempDir,
}

impl Evaluation {
    /// The Nix of the platform in the cache; an error when there is none.
    pub fn obtain() -> Result<Self, Failure> {
        let cache = std::env::var_os(CACHE).map_or_else(|| Workspace::own().cache(), PathBuf::from);
        let tree = Workspace::tree_in(&cache)?;
        let place = tempfile::tempdir().map_err(file("make", &std::env::temp_dir()))?;
        Ok(Self { programs: TreePrograms::new(&tree), tree, place })
    }

    /// The tree whose Nix it is.
    pub fn tree(&self) -> &Path {
        &self.tree
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

    /// Builds an attribute of the flake, in the sandbox. Neither the network nor the lock is touched.
    pub fn build(&self, flake: &Path, attribute: &str) -> Result<Built, Failure> {
        let reference = format!("path:{}#{attribute}", flake.display());
        let mut command = self.nix(&["build", "--offline", "--no-update-lock-file", "--no-link"]);
        command.args(["--print-out-paths", &reference]);
        // As on an installed machine (its nix.conf); the loader by which this Nix was started is no
        // program that it could start as a hook, and its shell lies in the tree.
        for (option, value) in [
            ("build-users-group", ""),
            ("sandbox", "true"),
            ("sandbox-fallback", "false"),
            ("sandbox-paths", ""),
            ("substituters", ""),
            ("build-hook", ""),
        ] {
            command.args(["--option", option, value]);
        }
        let output = command.output().map_err(file("run the tree's nix on", flake))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(Failure::Unfit(said));
        }
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Built { place: self.physical(&path), said })
    }

    /// Where a path of the store lies on this machine.
    fn physical(&self, path: &str) -> PathBuf {
        self.place.path().join("store").join(path.trim_start_matches('/'))
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

    /// Puts a file or directory into the store and describes it as `platform.json` does.
    fn add(&self, name: &str, part: &Path) -> Result<serde_json::Value, Failure> {
        let shown = part.display().to_string();
        let failed = |error: CommandError| Failure::Unfit(error.to_string());
        let add = ["store", "add", "--mode", "nar", "--name", name, &shown];
        let path = self.nix(&add).read().map_err(failed)?;
        let hash = self.nix(&["hash", "path", "--sri", &shown]).read().map_err(failed)?;
        Ok(serde_json::json!({ "name": name, "path": path.trim(), "hash": hash.trim() }))
    }

    /// A `platform.json` of these contents, by key and name; they are in the store afterwards.
    pub fn describe(&self, contents: &[(&str, &str, PathBuf)]) -> Result<String, Failure> {
        let mut description = serde_json::json!({ "kernelVersion": "6.12.0" });
        for (key, name, content) in contents {
            description[key] = self.add(name, content)?;
        }
        Ok(description.to_string())
    }

    /// Programs in `directory` that are this Nix as a workstation has it, with its store below
    /// `root` and no network. `jobs` is how many builds it may begin at once.
    pub fn programs(&self, directory: &Path, root: &Path, jobs: u8) -> Result<(), Failure> {
        fs::create_dir_all(directory).map_err(file("make", directory))?;
        for name in ["nix", "nix-store"] {
            let command = self.programs.command("usr/bin/nix", name);
            let mut words: Vec<String> = ["exec", "env"].map(str::to_owned).into();
            for (key, value) in command.get_envs() {
                let value = value.unwrap_or_default().to_string_lossy();
                words.push(quoted(&format!("{}={value}", key.to_string_lossy())));
            }
            words.push(quoted(&format!("HOME={}", self.place.path().join("home").display())));
            words.push(quoted(&command.get_program().to_string_lossy()));
            words.extend(command.get_args().map(|word| quoted(&word.to_string_lossy())));
            words.push(format!("--store {}", quoted(&root.display().to_string())));
            words.push(format!("{BUILDING} --option max-jobs {jobs} \"$@\""));
            let path = directory.join(name);
            fs::write(&path, format!("#!/bin/sh\n{}\n", words.join(" ")))
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
                .map_err(file("write", &path))?;
        }
        Ok(())
    }
}

/// Builds run in the sandbox, without what Nix would start of itself: it has no loader of its own
/// where the tree lies.
const BUILDING: &str = "--option sandbox true --option sandbox-fallback false \
    --option build-users-group '' --option builders '' --option build-hook '' \
    --option sandbox-paths '' --option substituters ''";

/// For a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Directories of a store are sealed: but for root, nobody could remove what is in them.
impl Drop for Evaluation {
    fn drop(&mut self) {
        unseal(&self.place.path().join("store"));
    }
}

fn unseal(directory: &Path) {
    // What cannot be removed is left in the directory of temporary files, as it would be without this.
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o755));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unseal(&entry.path());
        }
    }
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Where it lies on this machine; links in it name paths of the store.
    pub place: PathBuf,
    /// What Nix said meanwhile.
    pub said: String,
}

fn json(command: &mut Command) -> Result<serde_json::Value, CommandError> {
    let text = command.read()?;
    serde_json::from_str(&text)
        .map_err(|_| CommandError::NotText { program: "nix eval --json".to_owned() })
}
