//! git on one repository. What a repository says of hooks, filters and file system monitors is
//! never run, and nobody is asked for a password.

mod reader;
mod transport;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

pub use reader::Reader;
pub use transport::{HttpsAccess, SshAccess, Transport};

/// What a surrounding git, for example one that runs a hook, would lead astray with.
const SURROUNDING: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
];

/// git in `directory`.
fn command_in(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory);
    for setting in ["core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat"] {
        command.args(["-c", setting]);
    }
    for name in SURROUNDING {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command
}

/// One work tree and who commits to it.
#[derive(Debug, Clone)]
pub struct Git {
    directory: PathBuf,
    name: String,
    email: String,
}

impl Git {
    /// The work tree at `directory`; commits are made as `name <email>`.
    pub fn new(directory: &Path, name: &str, email: &str) -> Self {
        Self { directory: directory.to_owned(), name: name.to_owned(), email: email.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = command_in(&self.directory);
        command.args(["-c", "commit.gpgSign=false", "-c", "gc.auto=0"]);
        command.args(["-c", "protocol.allow=never"]);
        // A power cut must not leave a reference to an object that holds nothing.
        command.args(["-c", "core.fsync=all"]);
        command.env("HOME", "/root");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), &self.name);
            command.env(format!("GIT_{role}_EMAIL"), &self.email);
        }
        command
    }

    /// Makes an empty repository whose first branch is `branch`, without hooks.
    pub fn init(&self, branch: &str) -> Result<(), CommandError> {
        let first = format!("--initial-branch={branch}");
        self.command().args(["init", "-q", "--template=", &first]).run()
    }

    /// Takes `branch` with its history out of `place`: a URL, or the absolute path of a directory
    /// or a bundle. Objects that git refuses to accept from strangers are refused; nothing is
    /// checked out.
    pub fn fetch(
        &self,
        place: &OsStr,
        branch: &str,
        transport: &Transport<'_>,
    ) -> Result<(), CommandError> {
        let reference = format!("+refs/heads/{branch}:refs/heads/{branch}");
        let mut command = self.command();
        transport.open(&mut command)?;
        command.args(["-c", "fetch.fsckObjects=true"]);
        // Harmless, and found in histories that other tools once wrote.
        command.args(["-c", "fetch.fsck.zeroPaddedFilemode=ignore"]);
        command.args(["fetch", "-q", "--no-tags", "--no-recurse-submodules", "--update-head-ok"]);
        command.args(transport.options()).args(["--no-write-fetch-head", "--"]);
        command.arg(place).arg(reference).run()
    }

    /// Makes the newest commit the branch `branch` of `remote`, over ssh. Nothing that the branch
    /// has is lost: one with other commits is an error.
    pub fn push(
        &self,
        remote: &str,
        branch: &str,
        access: &SshAccess<'_>,
    ) -> Result<(), CommandError> {
        let mut command = self.command();
        Transport::Ssh(*access).open(&mut command)?;
        command.args(["push", "-q", "--no-verify", "--no-recurse-submodules", "--no-signed"]);
        command.args(["--", remote, &format!("HEAD:refs/heads/{branch}")]).run()
    }

    /// Makes index and work tree those of the newest commit.
    pub fn check_out(&self) -> Result<(), CommandError> {
        self.command().args(["reset", "-q", "--hard", "--no-recurse-submodules"]).run()
    }

    /// Keeps `commit` under the name `reference`.
    pub fn set_reference(&self, reference: &str, commit: &str) -> Result<(), CommandError> {
        self.command().args(["update-ref", "--", reference, commit]).run()
    }

    /// Removes the locks of a git that was cut off. No other may be at work.
    pub fn clear_locks(&self) -> io::Result<()> {
        for directory in [".git", ".git/refs/heads"] {
            let entries = match fs::read_dir(self.directory.join(directory)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "lock") {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Stages everything below `path`, deletions and what the repository ignores too.
    pub fn add(&self, path: &str) -> Result<(), CommandError> {
        self.command().args(["--literal-pathspecs", "add", "--all", "--force", "--", path]).run()
    }

    /// Whether the index is that of the newest commit.
    pub fn nothing_is_staged(&self) -> Result<bool, CommandError> {
        let difference = ["diff", "--cached", "--quiet", "--no-ext-diff", "--no-textconv"];
        match self.command().args(difference).run() {
            Ok(()) => Ok(true),
            Err(error) if error.exit_code() == Some(1) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Commits what is staged.
    pub fn commit(&self, message: &str) -> Result<(), CommandError> {
        let mut command = self.command();
        command.args(["commit", "-q", "-F", "-"]).read_with_input(message.as_bytes()).map(drop)
    }

    /// Makes `url` the remote `origin`; without one, no `origin` is left.
    pub fn set_origin(&self, url: Option<&str>) -> Result<(), CommandError> {
        let present = self.command().args(["remote", "get-url", "origin"]).run().is_ok();
        match (url, present) {
            (Some(url), true) => {
                self.command().args(["remote", "set-url", "--", "origin", url]).run()
            }
            (Some(url), false) => self.command().args(["remote", "add", "--", "origin", url]).run(),
            (None, true) => self.command().args(["remote", "remove", "origin"]).run(),
            (None, false) => Ok(()),
        }
    }
}
