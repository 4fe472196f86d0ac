//! `restic`: one repository; its password travels on standard input.

mod output;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::command::{CommandError, CommandExt as _};
use crate::secret::Secret;

pub use output::{Node, Unread};

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

/// The tag of a snapshot that may lack something. Every snapshot is stored with it, and loses it when
/// restic has said that everything was read: whatever comes in between (a power cut, a network that
/// goes) leaves one that nobody takes for whole. The tags of backups begin with `bedplate-`, so that
/// none of them is called like this.
pub const INCOMPLETE: &str = "incomplete";

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
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The id it was first stored by, when its tags were changed since: restic stores it anew then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
}

impl Snapshot {
    /// Whether the run that made it read everything, as far as is known: one of before such snapshots
    /// were marked says nothing, and is taken for complete.
    pub fn is_complete(&self) -> bool {
        !self.tags.iter().any(|tag| tag == INCOMPLETE)
    }

    /// Whether `id` is its id, the one it was first stored by, or the start of either.
    pub fn is_called(&self, id: &str) -> bool {
        let original = self.original.as_ref();
        !id.is_empty()
            && (self.id.starts_with(id) || original.is_some_and(|one| one.starts_with(id)))
    }
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

/// How a backup ended, when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Everything was read, and the snapshot says so.
    Complete(Summary),
    /// Everything was read, and the repository did not take the mark off the snapshot.
    Marked(Summary),
    /// Not everything could be read; the snapshot is marked by that.
    Incomplete(Summary, Unread),
    /// restic named no snapshot.
    Nothing,
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

/// Nobody is asked, no key is trusted at first sight, no other key is tried. A machine that is gone is
/// given up after ten minutes: it says nothing by itself, and restic waits for what it would say.
fn ssh_options(identity: &Path, known_hosts: &Path) -> String {
    format!(
        "-i {} -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=60 \
         -o ServerAliveInterval=60 -o ServerAliveCountMax=10 -F /dev/null",
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

/// A path as a pattern that fits nothing else. restic matches by the rules of Go's `filepath.Match`,
/// in which a backslash takes their meaning from the characters that follow it.
fn literal(path: &Path) -> OsString {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if br"\*?[]".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    OsString::from_vec(escaped)
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
    fn t51_a_server_that_is_gone_is_not_waited_for() {
        let options = ssh_options(Path::new("/run/i"), Path::new("/run/k"));
        for wanted in ["ConnectTimeout=60", "ServerAliveInterval=60", "ServerAliveCountMax=10"] {
            assert!(options.contains(wanted), "{options}");
        }
        let ssh = Command::new("ssh").args(["-G", "nas"]).args(options.split_whitespace()).output();
        let ssh = ssh.expect("NOT TESTED: install openssh-client").stdout;
        let ssh = String::from_utf8_lossy(&ssh).into_owned();
        assert!(ssh.contains("\nserveraliveinterval 60\n"), "{ssh}");
    }

    /// A program that is called instead of restic.
    fn stand_in(place: &Path, script: &str) -> PathBuf {
        let program = place.join("restic");
        std::fs::write(&program, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        program
    }

    fn of<'a>(program: &'a Path, password: &'a Secret) -> Restic<'a> {
        let (access, cache) = (&Access::Open, "/c".into());
        Restic { program, repository: "/r", password, access, cache }
    }

    /// A repository of text files: `backup` ends with `code`, and `tag` and `forget` change the list of
    /// snapshots unless nothing can be removed.
    fn repository(place: &Path, code: u8, is_append_only: bool) -> PathBuf {
        let marked = r#"{"id":"ab1","time":"2026-01-01T00:00:00Z","hostname":"hv","tags":["t","incomplete"]}"#;
        let anew = r#"{"id":"cd2","time":"2026-01-01T00:00:00Z","hostname":"hv","tags":["t"],"original":"ab1"}"#;
        let left = if is_append_only { format!("{marked},{anew}") } else { anew.to_owned() };
        let error = r#"{"message_type":"error","error":{"message":"no"},"item":"/mnt/a"}"#;
        let script = format!(
            "#!/bin/sh\ncd {0}\necho \"$*\" >>said\ncase \"$*\" in\n\
             *' backup '*) echo '[{marked}]' >list; echo '{{\"snapshot_id\":\"ab1\"}}'; \
             echo '{error}' >&2; exit {code};;\n\
             *' tag '*) echo '[{left}]' >list;;\n\
             *' forget '*) echo '[{{\"remove\":[{{\"id\":\"ab1\"}}]}}]';;\n\
             *' snapshots '*) cat list;;\nesac\n",
            place.display()
        );
        stand_in(place, &script)
    }

    #[test]
    fn t48_a_snapshot_is_marked_until_everything_was_read_and_stays_so_when_not() {
        let password = Secret::new(b"x".to_vec());
        let back_up = |code, is_append_only| {
            let place = tempfile::tempdir().unwrap();
            let program = repository(place.path(), code, is_append_only);
            let restic = of(&program, &password);
            let stored = restic.backup("hv", "t", place.path(), &["mnt/a".into()]);
            let found = restic.snapshots("hv", "t").unwrap();
            let said = std::fs::read_to_string(place.path().join("said")).unwrap();
            (stored, found, said)
        };
        // A cut between the two leaves it as it was stored: marked.
        for is_append_only in [false, true] {
            let (stored, found, said) = back_up(0, is_append_only);
            assert!(said.contains("--tag t --tag incomplete "), "{said}");
            assert!(said.contains(" --remove incomplete ab1\n"), "{said}");
            let Ok(Stored::Complete(summary)) = stored else { panic!("{stored:?}") };
            assert_eq!(summary.snapshot_id, "cd2", "the id it has now");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].is_complete());
        }
        let (stored, found, said) = back_up(3, false);
        let Ok(Stored::Incomplete(summary, unread)) = stored else { panic!("{stored:?}") };
        assert_eq!((summary.snapshot_id.as_str(), unread.count), ("ab1", 1));
        assert_eq!(unread.to_string(), "/mnt/a (no)");
        assert!(!found[0].is_complete() && !said.contains("--remove"), "{found:?} {said}");
        let (stored, ..) = back_up(1, false);
        assert_eq!(stored.unwrap_err().exit_code(), Some(1));
    }

    #[test]
    fn what_cannot_be_forgotten_is_counted_although_restic_calls_it_done() {
        let password = Secret::new(b"x".to_vec());
        let keep = Keep { daily: 1, weekly: 0, monthly: 0 };
        for (is_append_only, left) in [(false, 0), (true, 1)] {
            let place = tempfile::tempdir().unwrap();
            let program = repository(place.path(), 0, is_append_only);
            let restic = of(&program, &password);
            restic.backup("hv", "t", place.path(), &[]).unwrap();
            assert_eq!(restic.forget("hv", "t", keep).unwrap(), left);
        }
    }

    #[test]
    fn a_path_is_a_name_and_no_pattern() {
        let text = |path: &str| literal(Path::new(path)).into_string().unwrap();
        assert_eq!(text("/mnt/a[1]*?\\b c"), "/mnt/a\\[1\\]\\*\\?\\\\b c");
        assert_eq!(text("/mnt/bulk/apps-vm"), "/mnt/bulk/apps-vm");
        let bytes = std::ffi::OsStr::from_bytes(b"/mnt/\xff*");
        assert_eq!(literal(Path::new(bytes)).as_bytes(), b"/mnt/\xff\\*");
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_somebodys_for_as_long_as_it_is_there() {
        let place = tempfile::tempdir().unwrap();
        let list = place.path().join("list");
        // `gone` goes when it is read, `torn` is no JSON, and `shut` cannot be read.
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*'list locks'*) cat {0};;\n\
             *'lock own'*) echo '{{\"time\": \"t\", \"hostname\": \"hv\", \"pid\": 7}}';;\n\
             *'lock gone'*) grep -v gone {0} >{0}.new; mv {0}.new {0}; exit 1;;\n\
             *'lock torn'*) echo '{{';;\n*) exit 1;;\nesac\n",
            list.display()
        );
        let program = stand_in(place.path(), &script);
        let password = Secret::new(b"x".to_vec());
        let restic = of(&program, &password);
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
}
