//! Backups, and what comes back from them.

use serde::{Deserialize, Serialize};

use super::SecretReference;
use crate::name::PoolName;

/// Section `[backups.<name>]` of `host.toml`: what is stored, where to, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// restic repository; an absolute path for a local one.
    pub repository: String,
    /// The pool whose mount a local repository needs (found by validation).
    pub repository_pool: Option<PoolName>,
    /// Absolute paths to back up, each inside the mount of a pool.
    pub paths: Vec<String>,
    /// systemd calendar expression, such as `daily`.
    pub schedule: String,
    /// How many snapshots are kept.
    pub keep: Keep,
    /// Where the repository's password comes from.
    pub password: SecretReference,
    /// What its server wants besides the password: `name:password` of a rest-server,
    /// `id:secret` of S3, a private ssh key for sftp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretReference>,
    /// The public ssh key of the machine an `sftp:` repository is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// What else happens to the repository, and when.
    #[serde(default, skip_serializing_if = "Upkeep::is_default")]
    pub upkeep: Upkeep,
    /// Age in hours from which the newest backup is too old; from the schedule when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after_hours: Option<u32>,
}

impl Backup {
    /// Its secrets, by their keys in `host.toml`.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &SecretReference)> {
        let credentials = self.credentials.iter().map(|secret| ("credentials", secret));
        std::iter::once(("password", &self.password)).chain(credentials)
    }

    /// Everything that is done with it by a timer, by its key in `host.toml`, and when: systemd
    /// calendar expressions.
    pub fn schedules(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Upkeep { prune, check, check_data, drill } = &self.upkeep;
        let upkeep =
            [("prune", prune), ("check", check), ("check_data", check_data), ("drill", drill)];
        let upkeep = upkeep.into_iter().filter_map(|(key, when)| Some((key, when.as_deref()?)));
        std::iter::once(("schedule", self.schedule.as_str())).chain(upkeep)
    }
}

/// What happens to a repository besides backups: systemd calendar expressions, or never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// What no snapshot holds any more is deleted.
    pub prune: Option<String>,
    /// Its structure is checked.
    pub check: Option<String>,
    /// All of its data is read and checked.
    pub check_data: Option<String>,
    /// It is restored, and compared with what was backed up.
    pub drill: Option<String>,
}

impl Default for Upkeep {
    fn default() -> Self {
        let each = |word: &str| Some(word.to_owned());
        Self {
            prune: each("weekly"),
            check: each("weekly"),
            check_data: each("monthly"),
            drill: each("monthly"),
        }
    }
}

impl Upkeep {
    /// Whether it is what a document that says nothing gets.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[restore]`: what comes back before anything uses the pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// Names of `[backups.<name>]`, all of whose paths come back.
    pub backups: Vec<String>,
    /// restic's id of the snapshot; the newest of this host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// How many snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Daily snapshots.
    pub daily: u32,
    /// Weekly snapshots.
    pub weekly: u32,
    /// Monthly snapshots.
    pub monthly: u32,
}
