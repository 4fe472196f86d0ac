//! Nix: locks, another store root, and what a store knows of its paths.

pub mod archive;
pub mod registration;
mod workstation;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};
use crate::nix_log::{Progress, Reader};

pub use workstation::{Sources, Workstation};

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

/// A directory without a `nix.conf`: the medium's own turns caches off, and without it Nix uses those it
/// is built with.
const NO_CONFIGURATION: &str = "/var/empty";

/// Where a build gets what the store lacks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere: the network is not touched.
    Store,
    /// Inputs from where the lock says, store paths from the cache of NixOS.
    Network,
}

/// Nix working on the store below one root.
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

    /// Makes the database, which any use of a store does.
    pub fn make_database(&self) -> Result<(), CommandError> {
        self.command("nix-store").arg("--init").run()
    }

    /// Loads registrations of paths that are in the store already.
    pub fn load_registration(&self, registration: &[u8]) -> Result<(), CommandError> {
        self.command("nix-store").arg("--load-db").read_with_input(registration).map(drop)
    }

    /// Builds one output and returns its store path, telling how far it is. Never touches the
    /// lock file.
    pub fn build(
        &self,
        reference: &str,
        reach: Reach,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<String, CommandError> {
        let mut listener = Listener { reader: Reader::default(), told: None, on_progress };
        let said = |listener: &mut Listener<'_>, bytes: &[u8]| listener.hear(bytes);
        let tail = |listener: &Listener<'_>| listener.reader.tail().to_owned();
        let printed =
            self.build_command(reference, reach).read_listening(&mut listener, said, tail)?;
        Ok(printed.trim().to_owned())
    }

    fn build_command(&self, reference: &str, reach: Reach) -> Command {
        let mut command = Command::new("nix");
        command.args(["--extra-experimental-features", "nix-command flakes", "build"]);
        command.args(["--no-update-lock-file", "--no-link", "--print-out-paths"]);
        command.args(["--log-format", "internal-json"]);
        match reach {
            Reach::Store => command.args(["--offline", "--option", "substituters", ""]),
            Reach::Network => command.env("NIX_CONF_DIR", NO_CONFIGURATION),
        };
        command.args(["--option", "sandbox", "true", "--option", "sandbox-fallback", "false"]);
        command.args(["--option", "build-users-group", ""]);
        // What the database calls valid is on the disk: a power cut in between would otherwise
        // leave a path that is never built again and holds nothing.
        command.args(["--option", "sync-before-registering", "true"]);
        command.arg("--store").arg(&self.root).arg(reference).env("HOME", "/root");
        command
    }

    /// Makes `path` the current generation of the profile.
    pub fn set_profile(&self, profile: &Path, path: &str) -> Result<(), CommandError> {
        self.command("nix-env").arg("-p").arg(profile).args(["--set", path]).run()
    }
}

/// Hears Nix, and tells what has changed.
struct Listener<'a> {
    reader: Reader,
    told: Option<Progress>,
    on_progress: &'a mut dyn FnMut(&Progress),
}

impl Listener<'_> {
    fn hear(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
        let progress = self.reader.progress();
        if self.told.as_ref() != Some(&progress) {
            (self.on_progress)(&progress);
            self.told = Some(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(reach: Reach) -> (String, bool) {
        let command = Nix::new("/mnt").build_command("git+file:///x#y", reach);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        (words.join(" "), command.get_envs().any(|(name, _)| name == "NIX_CONF_DIR"))
    }

    #[test]
    fn t28_only_what_is_told_to_may_touch_the_network_and_nothing_the_lock() {
        let ((store, configured), (network, free)) = (words(Reach::Store), words(Reach::Network));
        assert!(store.contains("--offline --option substituters ") && !configured, "{store}");
        assert!(!network.contains("--offline") && !network.contains("substituters"), "{network}");
        assert!(free, "the medium's nix.conf turns caches off");
        for words in [store, network] {
            assert!(words.contains("--no-update-lock-file") && words.contains("sandbox true"));
        }
    }
}
