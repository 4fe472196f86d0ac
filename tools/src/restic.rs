//! `restic`: one repository; its password travels on standard input.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::command::{CommandError, CommandExt as _};
use crate::secret::Secret;

/// Exit code: there is no repository at that place (restic 0.17 and later).
pub const NO_REPOSITORY: i32 = 10;
/// Exit code: somebody else holds the lock.
pub const LOCKED: i32 = 11;
/// Exit code: the password opens nothing.
pub const WRONG_PASSWORD: i32 = 12;

/// How long restic waits for a lock that somebody else holds.
const PATIENCE: &str = "10m";

/// What a repository's server wants besides the password. Everything is in files: a secret in an
/// argument or a variable can be read by others, or ends up in a core dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// A file that holds the repository's address with name and password of a rest-server.
    AddressFile(PathBuf),
    /// A file of AWS credentials.
    CloudFile(PathBuf),
    /// A private ssh key, and the machine's own key.
    Ssh {
        /// Private key.
        identity: PathBuf,
        /// As ssh's `UserKnownHostsFile`.
        known_hosts: PathBuf,
    },
}

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

/// A snapshot in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// Host it was made on.
    pub hostname: String,
    /// What was read to make it.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What was found in it.
    #[serde(default)]
    pub summary: Option<Size>,
}

/// How much a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Files.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes of files.
    #[serde(default)]
    pub total_bytes_processed: u64,
}

/// A lock on a repository. One that cannot be read says nothing: it is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Lock {
    /// When it was made or last confirmed, RFC 3339.
    #[serde(default)]
    pub time: String,
    /// Host that holds it.
    #[serde(default)]
    pub hostname: String,
    /// Process that holds it.
    #[serde(default)]
    pub pid: u32,
    /// Whether nobody else may read.
    #[serde(default)]
    pub exclusive: bool,
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
    /// Files that were as in the snapshot before, and were not read.
    #[serde(default)]
    pub files_unmodified: u64,
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

    /// Backs `paths` up, which are relative to `place`; none when restic named no snapshot. Files are
    /// compared with those of the newest snapshot of this host and this place, by size, times
    /// and inode, and only what differs is read.
    pub fn backup(
        &self,
        host: &str,
        tag: &str,
        place: &Path,
        paths: &[PathBuf],
    ) -> Result<Option<Summary>, CommandError> {
        let mut command =
            self.command(&["backup", "--json", "--quiet", "--host", host, "--tag", tag]);
        command.args(["--retry-lock", PATIENCE, "--"]).args(paths).current_dir(place);
        Ok(summary(&command.read_with_secret(self.password)?))
    }

    /// Forgets old snapshots of this host and tag; nothing is pruned.
    pub fn forget(&self, host: &str, tag: &str, keep: Keep) -> Result<(), CommandError> {
        let rules = keep_arguments(keep);
        if rules.is_empty() {
            return Ok(());
        }
        let mut command = self.command(&["forget", "--host", host, "--tag", tag]);
        command.args(["--retry-lock", PATIENCE, "--group-by", "host,tags"]).args(rules);
        command.read_with_secret(self.password).map(drop)
    }

    /// The snapshots of this host and tag, oldest first.
    pub fn snapshots(&self, host: &str, tag: &str) -> Result<Vec<Snapshot>, CommandError> {
        let text = self.run(&["snapshots", "--json", "--no-lock", "--host", host, "--tag", tag])?;
        let found: Option<Vec<Snapshot>> = serde_json::from_str(text.trim()).map_err(|source| {
            CommandError::Unexpected { program: self.program.display().to_string(), source }
        })?;
        let mut found = found.unwrap_or_default();
        found.sort_by(|one, other| one.time.cmp(&other.time));
        Ok(found)
    }

    /// Brings the paths of a snapshot back below `target`, all when none is named. What is there and
    /// the same is left alone, so that one that was cut off goes on.
    pub fn restore(
        &self,
        snapshot: &str,
        target: &Path,
        paths: &[PathBuf],
    ) -> Result<(), CommandError> {
        let mut command = self.command(&["restore", snapshot, "--quiet", "--target"]);
        command.arg(target).args(["--overwrite", "always", "--retry-lock", PATIENCE]);
        for path in paths {
            command.arg("--include").arg(path);
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

/// What restic would take in the place of what it is told.
const VARIABLES: [&str; 11] = [
    "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_COMMAND",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_REPOSITORY",
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
];

/// Nobody is asked, no key is trusted at first sight, no other key is tried.
fn ssh_options(identity: &Path, known_hosts: &Path) -> String {
    format!(
        "-i {} -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes -F /dev/null",
        identity.display(),
        known_hosts.display()
    )
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
        let accesses = [
            Access::Open,
            Access::AddressFile("/run/a".into()),
            Access::CloudFile("/run/c".into()),
            Access::Ssh { identity: "/run/i".into(), known_hosts: "/run/k".into() },
        ];
        let mut lines = String::new();
        for access in &accesses {
            let program = Path::new("restic");
            let cache = "/c".into();
            let restic = Restic { program, repository: "/r", password: &password, access, cache };
            lines += &format!("{:?}\n", restic.command(&["init"]));
        }
        assert!(!lines.contains("canary"), "{lines}");
        for part in
            ["--repository-file\" \"/run/a", "AWS_SHARED_CREDENTIALS_FILE=\"/run/c", "-i /run/i"]
        {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_somebodys_for_as_long_as_it_is_there() {
        let place = tempfile::tempdir().unwrap();
        let (program, list) = (place.path().join("restic"), place.path().join("list"));
        // `gone` goes when it is read, `torn` is no JSON, and `shut` cannot be read.
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*'list locks'*) cat {0};;\n\
             *'lock own'*) echo '{{\"time\": \"t\", \"hostname\": \"hv\", \"pid\": 7}}';;\n\
             *'lock gone'*) grep -v gone {0} >{0}.new; mv {0}.new {0}; exit 1;;\n\
             *'lock torn'*) echo '{{';;\n*) exit 1;;\nesac\n",
            list.display()
        );
        std::fs::write(&program, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        let password = Secret::new(b"x".to_vec());
        let restic = Restic {
            program: &program,
            repository: "/r",
            password: &password,
            access: &Access::Open,
            cache: "/c".into(),
        };
        let own = Lock { time: "t".into(), hostname: "hv".into(), pid: 7, exclusive: false };
        std::fs::write(&list, "own\ngone\n").unwrap();
        assert_eq!(restic.locks().unwrap(), std::slice::from_ref(&own));
        std::fs::write(&list, "own\ngone\ntorn\nshut\n").unwrap();
        assert_eq!(restic.locks().unwrap(), [own, Lock::default(), Lock::default()]);
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
