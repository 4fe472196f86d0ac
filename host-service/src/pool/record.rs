//! What a pool's disks cannot say themselves, kept from boot to boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::name::Role;
use bedplate_planner::pool_history::Mark;
use bedplate_tools::sync;
use serde::{Deserialize, Serialize};

use super::error::{PoolError, file};
use bedplate_tools::atomic::{self, WriteError};

/// Where the records stand, one file a pool: pools are opened at the same time.
const DIRECTORY: &str = "/var/lib/bedplate/pools";

/// What is kept of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The epoch of each role that was replaced or added: a disk of another epoch is no member.
    pub epochs: BTreeMap<Role, u32>,
    /// Roles that were not there when the pool was mounted last.
    pub away: BTreeSet<Role>,
    /// Roles that came back and were mounted as they were, of before there were marks; cleared by a
    /// scrub.
    pub stale: BTreeSet<Role>,
    /// The era in which the pool was mounted last.
    pub mark: Option<Mark>,
    /// A generation that every member had reached in that era: one that is below it is behind.
    pub generation: u64,
    /// The number in the file system of each member, by the UUID of its LUKS header: when one is
    /// missing, nothing else says whose it was.
    pub numbers: BTreeMap<String, u64>,
    /// Whether there is a record at all.
    #[serde(skip)]
    pub known: bool,
}

impl Record {
    /// What is kept of `pool`; nothing when there is no record. One that cannot be understood
    /// is an error: it may hold back a disk that was replaced.
    pub fn read(pool: &str) -> Result<Self, PoolError> {
        let path = path(pool);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(file("read", &path))?,
        };
        Ok(Self { known: true, ..Self::parse(pool, &text)? })
    }

    pub(super) fn parse(pool: &str, text: &str) -> Result<Self, PoolError> {
        let damaged =
            |source| PoolError::Damaged { path: path(pool), pool: pool.to_owned(), source };
        serde_json::from_str(text).map_err(damaged)
    }

    /// From now on the disk of a role is the one of `epoch`. It missed nothing, whatever the one
    /// before it did. Whether that is new.
    pub fn raise(&mut self, role: &Role, epoch: u32) -> bool {
        let before = self.clone();
        self.epochs.insert(role.to_owned(), epoch);
        self.away.remove(role);
        self.stale.remove(role);
        *self != before
    }

    /// The member of this LUKS header is the device of this number, and no other is.
    pub fn number(&mut self, uuid: &str, number: u64) {
        self.numbers.retain(|known, other| known == uuid || *other != number);
        self.numbers.insert(uuid.to_owned(), number);
    }

    /// Takes the record of `pool` away where it says something else than `mark`, because it could not be
    /// written: it would vouch for who is left behind now. Without one only marks count. False when it
    /// stays.
    pub fn forget_unless(pool: &str, mark: &Mark) -> bool {
        forget_unless(&path(pool), mark)
    }

    /// Keeps it, durably.
    pub fn write(&self, pool: &str) -> Result<(), WriteError> {
        let path = path(pool);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
        atomic::write(&path, &text, 0o600)
    }
}

fn forget_unless(path: &Path, mark: &Mark) -> bool {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        Err(_) => return false,
        Ok(text) => text,
    };
    let kept = serde_json::from_str::<Record>(&text).ok().and_then(|record| record.mark);
    if kept.is_some_and(|kept| kept.id() == mark.id()) {
        return true;
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::remove_file(path).and_then(|()| sync::directory(directory)).is_ok()
}

fn path(pool: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{pool}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(era: &str) -> Mark {
        let (line, members) = (vec![era.to_owned()], BTreeSet::from(["u".to_owned()]));
        Mark { line, members, target: None, joining: None, since: 1, host: "h".into() }
    }

    #[test]
    fn t40_a_record_that_cannot_be_written_vouches_for_nobody() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("vmstore.json");
        assert!(forget_unless(&path, &mark("e1")), "there is none");
        let record = Record { mark: Some(mark("e0")), ..Record::default() };
        fs::write(&path, serde_json::to_string(&record).unwrap()).unwrap();
        assert!(forget_unless(&path, &mark("e0")) && path.exists(), "it says what is so");
        assert!(forget_unless(&path, &mark("e1")) && !path.exists());
        // Of before there were marks.
        fs::write(&path, "{}").unwrap();
        assert!(forget_unless(&path, &mark("e1")) && !path.exists());
    }
}
