//! Nix of the machine that media are made on, configured as its owner likes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::registration::{self, StorePath};
use crate::command::{CommandError, CommandExt as _};

/// Its programs and its store.
#[derive(Debug, Clone)]
pub struct Workstation {
    programs: Option<PathBuf>,
    root: PathBuf,
}

/// Where the sources of a flake stand in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The flake itself.
    pub own: String,
    /// Its inputs and theirs, each once; those that are parts of another have no place of their own.
    pub inputs: Vec<String>,
}

#[derive(Deserialize)]
struct Archived {
    path: Option<String>,
    #[serde(default)]
    inputs: std::collections::BTreeMap<String, Archived>,
}

impl Archived {
    /// An answer that does not say where the flake itself stands is refused: what must not travel
    /// is known by it.
    fn sources(self) -> Result<Sources, CommandError> {
        let mut inputs = Vec::new();
        self.collect(&mut inputs);
        let own = self.path.filter(|path| registration::name(path).is_some());
        let program = || "nix flake archive".to_owned();
        let own = own.ok_or_else(|| CommandError::NotUnderstood { program: program() })?;
        Ok(Sources { own, inputs })
    }

    fn collect(&self, found: &mut Vec<String>) {
        for input in self.inputs.values() {
            found.extend(input.path.clone().filter(|path| !found.contains(path)));
            input.collect(found);
        }
    }
}

impl Workstation {
    /// The Nix that is found by `PATH`, with the store of this machine.
    pub fn own() -> Self {
        Self { programs: None, root: PathBuf::from("/") }
    }

    /// The programs in a directory, which keep their store below `root`.
    pub fn at(programs: &Path, root: &Path) -> Self {
        Self { programs: Some(programs.to_owned()), root: root.to_owned() }
    }

    fn command(&self, program: &str) -> Command {
        match &self.programs {
            Some(directory) => Command::new(directory.join(program)),
            None => Command::new(program),
        }
    }

    fn nix(&self) -> Command {
        let mut command = self.command("nix");
        command.args(["--extra-experimental-features", "nix-command flakes"]);
        command
    }

    /// What it says of itself; an error when it cannot be run.
    pub fn version(&self) -> Result<String, CommandError> {
        Ok(self.command("nix-store").arg("--version").read()?.trim().to_owned())
    }

    /// Where the content of a store path stands on this machine.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether the store has the path.
    pub fn is_valid(&self, path: &str) -> bool {
        self.command("nix-store").args(["--check-validity", path]).run().is_ok()
    }

    /// Adds a file or directory by the SHA-256 of its NAR serialisation; the path it got.
    pub fn add(&self, name: &str, from: &Path) -> Result<String, CommandError> {
        let mut command = self.nix();
        command.args(["store", "add", "--mode", "nar", "--name", name, "--"]).arg(from);
        Ok(command.read()?.trim().to_owned())
    }

    /// Where a flake and its inputs stand in the store; what is not there is fetched.
    pub fn sources(&self, flake: &str) -> Result<Sources, CommandError> {
        let mut command = self.nix();
        command.args(["flake", "archive", "--json", "--no-update-lock-file", flake]);
        let unexpected =
            |source| CommandError::Unexpected { program: "nix flake archive".to_owned(), source };
        let archived: Archived = serde_json::from_str(&command.read()?).map_err(unexpected)?;
        archived.sources()
    }

    /// Builds one output and returns its store path. Never touches the lock file.
    pub fn build(&self, reference: &str) -> Result<String, CommandError> {
        let mut command = self.nix();
        command.args(["build", "--no-update-lock-file", "--no-link", "--print-out-paths"]);
        Ok(command.arg(reference).read()?.trim().to_owned())
    }

    /// What the store knows of `paths` and of everything they refer to.
    pub fn closure(&self, paths: &[String]) -> Result<Vec<StorePath>, CommandError> {
        let all = self.command("nix-store").args(["--query", "--requisites"]).args(paths).read()?;
        let mut known = self.command("nix-store");
        let text = known.arg("--dump-db").args(all.lines()).read()?;
        registration::parse(&text).ok_or_else(|| CommandError::NotUnderstood {
            program: "nix-store --dump-db".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_nix_says_so() {
        let place = tempfile::tempdir().unwrap();
        let error = Workstation::at(place.path(), Path::new("/")).version().unwrap_err();
        assert!(matches!(error, CommandError::Start { .. }), "{error}");
    }

    #[test]
    fn inputs_of_inputs_are_named_once_and_parts_of_the_flake_have_no_place() {
        let text = r#"{"path":"/nix/store/s","inputs":{"bedplate":{"inputs":{}},"a":{"path":
            "/nix/store/a","inputs":{"n":{"path":"/nix/store/n","inputs":{}}}},
            "n":{"path":"/nix/store/n","inputs":{}}}}"#;
        let found = serde_json::from_str::<Archived>(text).unwrap().sources().unwrap();
        assert_eq!(found.own, "/nix/store/s");
        assert_eq!(found.inputs, ["/nix/store/a", "/nix/store/n"]);
    }

    #[test]
    fn t19_an_answer_that_does_not_name_the_flake_itself_is_refused() {
        for text in [r#"{"inputs":{}}"#, r#"{"path":"","inputs":{}}"#] {
            let archived: Archived = serde_json::from_str(text).unwrap();
            let error = archived.sources().unwrap_err();
            assert!(matches!(error, CommandError::NotUnderstood { .. }), "{error}");
        }
    }
}
