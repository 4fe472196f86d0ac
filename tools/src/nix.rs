//! Nix: locks, and another store root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// What can be locked of the flake in `directory` is locked; this may want the network. The
/// directory is taken as it is: what git does not know yet counts.
pub fn lock_flake(directory: &Path) -> Result<(), CommandError> {
    let mut command = Command::new("nix");
    command.args(["--extra-experimental-features", "nix-command flakes"]);
    command.args(["flake", "lock", "path:."]).current_dir(directory).run()
}

/// The store of the running machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalStore;

impl LocalStore {
    /// Whether the store knows the path.
    pub fn is_valid(&self, path: &str) -> bool {
        Command::new("nix-store").args(["--check-validity", path]).run().is_ok()
    }

    /// Adds a file or directory by the SHA-256 of its NAR serialisation; the path it got, which
    /// follows from `name` and the content alone.
    pub fn add(&self, name: &str, from: &Path) -> Result<String, CommandError> {
        let mut command = Command::new("nix");
        command.args(["--extra-experimental-features", "nix-command"]);
        command.args(["--option", "sync-before-registering", "true"]);
        command.args(["store", "add", "--mode", "nar", "--name", name, "--"]).arg(from);
        Ok(command.env("HOME", "/root").read()?.trim().to_owned())
    }
}

/// Nix working on the store below one root, offline.
#[derive(Debug, Clone)]
pub struct Nix {
    root: PathBuf,
}

impl Nix {
    /// The store below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--store").arg(&self.root);
        command.env("HOME", "/root");
        command
    }

    /// Loads registrations of paths that are in the store already.
    pub fn load_registration(&self, registration: &[u8]) -> Result<(), CommandError> {
        self.command("nix-store").arg("--load-db").read_with_input(registration).map(drop)
    }

    /// Builds one output and returns its store path. Never touches the lock file or the network.
    pub fn build(&self, reference: &str) -> Result<String, CommandError> {
        let mut command = Command::new("nix");
        command.args(["--extra-experimental-features", "nix-command flakes", "build"]);
        command.args(["--offline", "--no-update-lock-file", "--no-link", "--print-out-paths"]);
        command.args(["--option", "sandbox", "true", "--option", "sandbox-fallback", "false"]);
        command.args(["--option", "build-users-group", "", "--option", "substituters", ""]);
        // What the database calls valid is on the disk: a power cut in between would otherwise
        // leave a path that is never built again and holds nothing.
        command.args(["--option", "sync-before-registering", "true"]);
        command.arg("--store").arg(&self.root).arg(reference).env("HOME", "/root");
        Ok(command.read()?.trim().to_owned())
    }

    /// Makes `path` the current generation of the profile.
    pub fn set_profile(&self, profile: &Path, path: &str) -> Result<(), CommandError> {
        self.command("nix-env").arg("-p").arg(profile).args(["--set", path]).run()
    }
}
