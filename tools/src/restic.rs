//! `restic`: one repository; its password travels on standard input.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::command::{CommandError, CommandExt as _};
use crate::secret::Secret;

/// Exit code: there is no repository at that place (restic 0.17 and later).
pub const NO_REPOSITORY: i32 = 10;
/// Exit code: somebody else holds the lock.
pub const LOCKED: i32 = 11;
/// Exit code: the password opens nothing.
pub const WRONG_PASSWORD: i32 = 12;

/// A repository and its password.
#[derive(Debug)]
pub struct Restic<'a> {
    /// As restic's `--repo` takes it.
    pub repository: &'a str,
    /// Opens it.
    pub password: &'a Secret,
    /// Where restic keeps its cache.
    pub cache: PathBuf,
}

/// What restic says at the end of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Id of the snapshot made.
    pub snapshot_id: String,
    /// Files read.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes read.
    #[serde(default)]
    pub total_bytes_processed: u64,
    /// Bytes that were new.
    #[serde(default)]
    pub data_added: u64,
}

/// How many snapshots `forget` keeps; 0 says nothing about that period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

impl Restic<'_> {
    /// Reads the repository's configuration: the cheapest proof that it is there and opens.
    pub fn probe(&self) -> Result<(), CommandError> {
        self.run(&["cat", "config", "--no-lock"]).map(drop)
    }

    /// Makes the repository.
    pub fn init(&self) -> Result<(), CommandError> {
        self.run(&["init"]).map(drop)
    }

    /// Backs `paths` up; none when restic named no snapshot.
    pub fn backup(
        &self,
        host: &str,
        tag: &str,
        paths: &[PathBuf],
    ) -> Result<Option<Summary>, CommandError> {
        let mut command =
            self.command(&["backup", "--json", "--quiet", "--host", host, "--tag", tag]);
        command.arg("--").args(paths);
        Ok(summary(&command.read_with_secret(self.password)?))
    }

    /// Forgets old snapshots of this host and tag; nothing is pruned.
    pub fn forget(&self, host: &str, tag: &str, keep: Keep) -> Result<(), CommandError> {
        let rules = keep_arguments(keep);
        if rules.is_empty() {
            return Ok(());
        }
        let mut command = self.command(&["forget", "--host", host, "--tag", tag]);
        command.args(["--group-by", "host,tags"]).args(rules);
        command.read_with_secret(self.password).map(drop)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, CommandError> {
        self.command(arguments).read_with_secret(self.password)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command.args(["--repo", self.repository, "--password-file", "/dev/stdin", "--cache-dir"]);
        command.arg(&self.cache).args(arguments);
        command.env_remove("RESTIC_PASSWORD").env_remove("RESTIC_PASSWORD_COMMAND");
        command
    }
}

/// Whether `repository` is a path on this machine.
pub fn is_local(repository: &str) -> bool {
    Path::new(repository).is_absolute()
}

fn keep_arguments(keep: Keep) -> Vec<String> {
    let rules = [("daily", keep.daily), ("weekly", keep.weekly), ("monthly", keep.monthly)];
    rules
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .flat_map(|(period, count)| [format!("--keep-{period}"), count.to_string()])
        .collect()
}

fn summary(output: &str) -> Option<Summary> {
    output.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_the_password_is_in_no_argument_and_no_variable() {
        let password = Secret::new(b"canary".to_vec());
        let restic = Restic { repository: "/r", password: &password, cache: "/c".into() };
        let shown = format!("{:?}", restic.command(&["init"]));
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("--password-file"), "{shown}");
    }

    #[test]
    fn a_period_of_zero_is_left_out() {
        let keep = Keep { daily: 7, weekly: 0, monthly: 6 };
        assert_eq!(keep_arguments(keep), ["--keep-daily", "7", "--keep-monthly", "6"]);
        assert!(keep_arguments(Keep { daily: 0, weekly: 0, monthly: 0 }).is_empty());
    }

    #[test]
    fn the_summary_is_the_last_line_that_names_a_snapshot() {
        let output = "{\"message_type\":\"status\"}\n{\"message_type\":\"summary\",\"snapshot_id\":\"ab\",\"data_added\":3}\n";
        let found = summary(output).unwrap();
        assert_eq!((found.snapshot_id.as_str(), found.data_added), ("ab", 3));
        assert_eq!(summary(""), None);
    }
}
