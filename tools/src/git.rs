//! git on one repository.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

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
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.directory);
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]);
        // A power cut must not leave a reference to an object that holds nothing.
        command.args(["-c", "core.fsync=all"]);
        command.env("HOME", "/root");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), &self.name);
            command.env(format!("GIT_{role}_EMAIL"), &self.email);
        }
        command
    }

    /// Makes an empty repository.
    pub fn init(&self) -> Result<(), CommandError> {
        self.command().args(["init", "-q", "-b", "main"]).run()
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

    /// Stages everything below `path`, deletions too.
    pub fn add(&self, path: &str) -> Result<(), CommandError> {
        self.command().args(["add", "--all", "--", path]).run()
    }

    /// Whether anything is staged or changed.
    pub fn is_clean(&self) -> Result<bool, CommandError> {
        Ok(self.command().args(["status", "--porcelain"]).read()?.is_empty())
    }

    /// Commits what is staged; `amend` replaces the newest commit.
    pub fn commit(&self, message: &str, amend: bool) -> Result<(), CommandError> {
        let mut command = self.command();
        command.args(["commit", "-q", "-F", "-"]);
        if amend {
            command.arg("--amend");
        }
        command.read_with_input(message.as_bytes()).map(drop)
    }

    /// The e-mail address of the newest commit's author; none without a commit.
    pub fn newest_author(&self) -> Option<String> {
        let text = self.command().args(["log", "-1", "--format=%ae"]).read().ok()?;
        Some(text.trim().to_owned())
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
