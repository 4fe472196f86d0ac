//! `restic`: one repository; its password travels on standard input.

mod arguments;
mod output;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};
use crate::secret::Secret;

pub use arguments::{Access, is_local};
use arguments::{VARIABLES, keep_arguments, literal, ssh_options};
pub use output::{Node, Unread};
pub use snapshot::{INCOMPLETE, Keep, Lock, Size, Snapshot, Stored, Summary};

/// Exit code of a backup: a snapshot was made, and not everything could be read for it. `forget` says
/// by the same number that not everything could be removed.
pub const NOT_ALL: i32 = 3;

/// Exit code: there is no repository at that place (restic 0.17 and later).
pub const NO_REPOSITORY: i32 = 10;

/// Exit code: somebody else holds the lock.
pub const LOCKED: i32 = 11;

/// Exit code: the password opens nothing.
pub const WRONG_PASSWORD: i32 = 12;

/// How long restic waits for a lock that somebody else holds.
const PATIENCE: &str = "10m";

/// A repository and its password.
#[derive(Debug)]
pub struct Restic<'a> {
    /// The program.
    pub program: &'a Path,
    /// As restic's `--repo` takes it.
    pub repository: &'a str,
    /// Opens it.
    pub password: &'a Secret,
    /// What its server wants.
    pub access: &'a Access,
    /// Where restic keeps its cache.
    pub cache: PathBuf,
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

    /// Backs `paths` up, which are relative to `place`. Files are compared with those of the newest
    /// snapshot of this host and this place, by size, times and inode, and only what differs is read.
    /// The snapshot is marked [`INCOMPLETE`] until restic has said that it read everything.
    pub fn backup(
        &self,
        host: &str,
        tag: &str,
        place: &Path,
        paths: &[PathBuf],
    ) -> Result<Stored, CommandError> {
        let mut command =
            self.command(&["backup", "--json", "--quiet", "--host", host, "--tag", tag]);
        command.args(["--tag", INCOMPLETE, "--retry-lock", PATIENCE, "--"]);
        command.args(paths).current_dir(place);
        let mut unread = Unread::default();
        let said = command.finish_hearing(self.password, &mut |line| unread.hear(line))?;
        let unread = match said.status.code() {
            Some(0) => None,
            Some(NOT_ALL) => Some(unread),
            _ => return Err(command.failure(&said)),
        };
        Ok(match (output::summary(&said.stdout), unread) {
            (None, None) => Stored::Nothing,
            (None, Some(_)) => return Err(command.failure(&said)),
            (Some(summary), Some(unread)) => Stored::Incomplete(summary, unread),
            (Some(summary), None) => match self.unmark(host, tag, &summary.snapshot_id)? {
                Some(snapshot_id) => Stored::Complete(Summary { snapshot_id, ..summary }),
                None => Stored::Marked(summary),
            },
        })
    }

    /// Takes the mark off a snapshot. It is stored anew then, and the marked one removed; where the
    /// repository lets nothing be removed both stay. restic calls that a success, so it is looked at.
    /// Returns the id of the one that is complete.
    fn unmark(&self, host: &str, tag: &str, id: &str) -> Result<Option<String>, CommandError> {
        self.run(&["tag", "--quiet", "--retry-lock", PATIENCE, "--remove", INCOMPLETE, id])?;
        let found = self.snapshots(host, tag)?;
        let complete = found.into_iter().find(|one| one.is_called(id) && one.is_complete());
        Ok(complete.map(|one| one.id))
    }

    /// Forgets old snapshots of this host and tag; nothing is pruned. Those that are marked are
    /// counted by themselves: they push no complete one out. Returns how many should have gone and are
    /// still there: restic says "done" of a repository that lets nothing be removed, too.
    pub fn forget(&self, host: &str, tag: &str, keep: Keep) -> Result<usize, CommandError> {
        let rules = keep_arguments(keep);
        if rules.is_empty() {
            return Ok(0);
        }
        let mut command = self.command(&["forget", "--json", "--host", host, "--tag", tag]);
        command.args(["--retry-lock", PATIENCE, "--group-by", "host,tags"]).args(rules);
        let said = command.finish_with_secret(self.password)?;
        if !matches!(said.status.code(), Some(0 | NOT_ALL)) {
            return Err(command.failure(&said));
        }
        let gone = output::forgotten(&said.stdout);
        if gone.is_empty() {
            return Ok(0);
        }
        let there = self.all_snapshots(host, tag)?;
        Ok(there.iter().filter(|one| gone.contains(&one.id)).count())
    }

    /// The snapshots of this host and tag, oldest first. One that was stored anew without its mark is
    /// there once, also where the marked one could not be removed.
    pub fn snapshots(&self, host: &str, tag: &str) -> Result<Vec<Snapshot>, CommandError> {
        Ok(output::newest_last(self.all_snapshots(host, tag)?))
    }

    fn all_snapshots(&self, host: &str, tag: &str) -> Result<Vec<Snapshot>, CommandError> {
        let text = self.run(&["snapshots", "--json", "--no-lock", "--host", host, "--tag", tag])?;
        let found: Option<Vec<Snapshot>> = serde_json::from_str(text.trim()).map_err(|source| {
            CommandError::Unexpected { program: self.program.display().to_string(), source }
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Everything in a snapshot at or below `paths`, which are names and no patterns; all of it when
    /// none is named. `each` gets one after the other: there may be millions.
    pub fn list(
        &self,
        snapshot: &str,
        paths: &[PathBuf],
        each: &mut dyn FnMut(Node),
    ) -> Result<(), CommandError> {
        let mut command = self.command(&["ls", "--json", "--recursive", "--no-lock", snapshot]);
        // restic takes a path with a `/` at its end for another one.
        command.args(paths.iter().map(|path| path.components().collect::<PathBuf>()));
        command.read_lines_with_secret(self.password, &mut |line| {
            if let Some(node) = output::node(line) {
                each(node);
            }
        })
    }

    /// Brings the paths of a snapshot back below `target`, all when none is named; they are names and
    /// no patterns. What is there and the same is left alone, so that one that was cut off goes on.
    /// Holes stay holes: an image of a disk takes the room of what is in it.
    pub fn restore(
        &self,
        snapshot: &str,
        target: &Path,
        paths: &[PathBuf],
    ) -> Result<(), CommandError> {
        let mut command = self.command(&["restore", snapshot, "--quiet", "--sparse", "--target"]);
        command.arg(target).args(["--overwrite", "always", "--retry-lock", PATIENCE]);
        for path in paths {
            command.arg("--include").arg(literal(path));
        }
        command.read_with_secret(self.password).map(drop)
    }

    /// Deletes what no snapshot holds.
    pub fn prune(&self) -> Result<(), CommandError> {
        self.run(&["prune", "--quiet", "--retry-lock", PATIENCE]).map(drop)
    }

    /// Checks the structure.
    pub fn check(&self) -> Result<(), CommandError> {
        self.run(&["check", "--quiet", "--retry-lock", PATIENCE]).map(drop)
    }

    /// Reads all data and checks it.
    pub fn check_data(&self) -> Result<(), CommandError> {
        self.run(&["check", "--read-data", "--quiet", "--retry-lock", PATIENCE]).map(drop)
    }

    /// Who holds locks. One that is gone when it is looked at is none; one that is still there and
    /// cannot be read is somebody's.
    pub fn locks(&self) -> Result<Vec<Lock>, CommandError> {
        let (mut locks, mut unread) = (Vec::new(), Vec::new());
        for id in self.lock_ids()? {
            match self.lock(&id) {
                Some(lock) => locks.push(lock),
                None => unread.push(id),
            }
        }
        if !unread.is_empty() {
            let there = self.lock_ids()?;
            let left = unread.iter().filter(|id| there.contains(id));
            locks.extend(left.map(|_| Lock::default()));
        }
        Ok(locks)
    }

    fn lock_ids(&self) -> Result<Vec<String>, CommandError> {
        let ids = self.run(&["list", "locks", "--no-lock", "--quiet"])?;
        Ok(ids.split_whitespace().map(str::to_owned).collect())
    }

    fn lock(&self, id: &str) -> Option<Lock> {
        let text = self.run(&["cat", "lock", id, "--no-lock", "--quiet"]).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Removes the locks that restic takes for stale: those of processes of this host that are
    /// gone, and any that is older than half an hour, whosever it is.
    pub fn unlock_stale(&self) -> Result<(), CommandError> {
        self.run(&["unlock", "--quiet"]).map(drop)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, CommandError> {
        self.command(arguments).read_with_secret(self.password)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        match self.access {
            Access::AddressFile(file) => command.arg("--repository-file").arg(file),
            _ => command.args(["--repo", self.repository]),
        };
        match self.access {
            Access::Open | Access::AddressFile(_) => {}
            Access::CloudFile(file) => drop(command.env("AWS_SHARED_CREDENTIALS_FILE", file)),
            Access::Ssh { identity, known_hosts } => {
                let options = ssh_options(identity, known_hosts);
                command.args(["--option", &format!("sftp.args={options}")]);
            }
        }
        command.args(["--password-file", "/dev/stdin", "--cache-dir"]).arg(&self.cache);
        command.args(arguments);
        command
    }
}

#[cfg(test)]
mod tests;
