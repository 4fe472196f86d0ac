//! Unlocking the members that are there and mounting what they make.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_luks as luks;
use bedplate_spec::host::{HostFile, Pool};
use bedplate_spec::identity::{Purpose, derive};
use bedplate_tools::block::{self, Block};
use bedplate_tools::btrfs::{self, Superblock};
use bedplate_tools::mount::{Access, Mount};
use serde::Serialize;

use super::error::{PoolError, file};
use super::key::{Keys, Trials};
use super::member::{Member, Members, headers, mapped};
use super::record::Record;
use super::status::is_mounted;
use crate::chain::chain;

/// How long members are waited for that were not there at the last boot either. A disk that
/// needs longer is left out once more, and said to be missing.
const BRIEFLY: Duration = Duration::from_secs(5);
/// Members are written one after the other: a power cut leaves this much between them.
const USUAL_LAG: u64 = 1;

/// How a pool stands after it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub mount: String,
    /// Whether it was mounted before.
    pub already: bool,
    /// Whether a device of the file system is lacking.
    pub degraded: bool,
    /// Roles of members that are not there; none when the disk that is lacking had no role any
    /// more.
    pub missing: Vec<String>,
    /// What its owner should know.
    pub warnings: Vec<String>,
    /// Every key that was tried on a member, and what that cost.
    pub tried: Vec<String>,
}

/// Unlocks and mounts a pool.
pub fn open(host: &HostFile, name: &str) -> Result<Opened, PoolError> {
    let pool = host.pools.get(name).ok_or_else(|| PoolError::Unknown { name: name.to_owned() })?;
    let (name, mount) = (name.to_owned(), pool.mount.clone());
    if is_mounted(&mount)? {
        return Ok(Opened {
            name,
            mount,
            already: true,
            degraded: false,
            missing: vec![],
            warnings: vec![],
            tried: vec![],
        });
    }
    let mut record = Record::read(&name)?;
    let mut opening = Opening::new(host, &name, pool, &record)?;
    let seen = opening.wait()?;
    let verdict = judge(pool, &seen);
    let lacking: Vec<String> =
        verdict.lacking.iter().map(|role| opening.describe(role, &seen)).collect();
    if seen.present.is_empty() && !seen.locked.is_empty() {
        let roles = seen.locked.iter().cloned().collect::<Vec<_>>().join(", ");
        let tried = opening.tried().iter().map(|line| format!("; {line}")).collect();
        return Err(PoolError::Locked { pool: name, roles, tried });
    }
    if seen.present.is_empty() || verdict.lost > 1 {
        let present = seen.present.len();
        let wanted = if present == 0 { pool.disks.len() } else { present + verdict.lost };
        return Err(PoolError::TooFew { pool: name, present, wanted, lacking: lacking.join("; ") });
    }
    let mut warnings = opening.close_foreign(&seen);
    mount_members(&mount, seen.present.values(), verdict.lost > 0)?;
    warnings.extend(lacking_warnings(&name, verdict.lost > 0, lacking));
    warnings.extend(
        seen.former.iter().map(|old| {
            format!("{} was replaced as {} and is not used", old.node.display(), old.role)
        }),
    );
    let tried = opening.tried();
    remember(&mut record, &verdict);
    warnings.extend(record.stale.iter().map(|role| {
        format!("{role} was away while pool {name} was written to: run `bedplate-host pool scrub {name}`")
    }));
    if let Err(error) = record.write(&name) {
        warnings.push(format!("the state of pool {name} could not be kept: {error}"));
    }
    let degraded = verdict.lost > 0;
    let missing = if degraded { verdict.lacking } else { Vec::new() };
    Ok(Opened { name, mount, already: false, degraded, missing, warnings, tried })
}

/// A pool is never degraded silently: a change that was cut off leaves one that lacks a disk,
/// while every role has one.
pub(super) fn lacking_warnings(
    name: &str,
    degraded: bool,
    mut lacking: Vec<String>,
) -> Vec<String> {
    if !degraded {
        return lacking.iter().map(|lacking| format!("pool {name}: {lacking}")).collect();
    }
    if lacking.is_empty() {
        lacking.push(
            "a disk that was being replaced or taken out; run the same `bedplate-host pool replace` or `pool remove` again".into(),
        );
    }
    let warning = |lacking: &String| {
        format!("pool {name} is mounted DEGRADED, one copy of the data is left: {lacking}")
    };
    lacking.iter().map(warning).collect()
}

fn remember(record: &mut Record, verdict: &Verdict) {
    let away: BTreeSet<String> =
        verdict.lacking.iter().filter(|_| verdict.lost > 0).cloned().collect();
    record.stale.extend(record.away.difference(&away).cloned());
    record.stale.extend(verdict.stale.iter().cloned());
    record.stale.retain(|role| !away.contains(role));
    record.away = away;
}

fn mount_members<'a>(
    mount: &str,
    members: impl Iterator<Item = &'a (Member, Superblock)>,
    degraded: bool,
) -> Result<(), PoolError> {
    let target = Path::new(mount);
    fs::create_dir_all(target).map_err(file("make", target))?;
    let nodes: Vec<PathBuf> = members.map(|(member, _)| mapped(&member.mapper)).collect();
    btrfs::scan(&nodes)?;
    let nodes: Vec<String> = nodes.iter().map(|node| node.display().to_string()).collect();
    let options = mount_options(&nodes, degraded);
    let source = nodes.first().map(String::as_str).unwrap_or_default();
    let access = Access::ReadWrite;
    Ok(Mount { source, target, kind: "btrfs", access, options: &options }.mount()?)
}

pub(super) fn mount_options(nodes: &[String], degraded: bool) -> String {
    let mut words: Vec<_> = nodes.iter().map(|node| format!("device={node}")).collect();
    words.extend(degraded.then(|| "degraded".to_owned()));
    words.join(",")
}

/// What was seen of a pool's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Unlocked, and part of the file system.
    pub present: BTreeMap<String, (Member, Superblock)>,
    /// Unlocked, and part of no file system or another one.
    pub foreign: BTreeMap<String, Member>,
    /// There, and no key opens them.
    pub locked: BTreeSet<String>,
    /// There, and unusable.
    pub damaged: BTreeMap<String, String>,
    /// Replaced or taken out.
    pub former: Vec<Member>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Roles of `host.toml` that are not part of the file system that can be mounted.
    pub lacking: Vec<String>,
    /// How many devices the file system lacks.
    pub lost: usize,
    /// Roles that missed writes.
    pub stale: Vec<String>,
}

/// The file system itself says how many devices it has, and who missed writes.
pub(super) fn judge(pool: &Pool, seen: &Seen) -> Verdict {
    let newest = seen.present.values().map(|(_, block)| block).max_by_key(|one| one.generation);
    let (devices, generation) = newest.map_or((0, 0), |one| (one.devices, one.generation));
    let devices = usize::try_from(devices).unwrap_or(usize::MAX);
    let stale = seen
        .present
        .iter()
        .filter(|(_, (_, block))| generation.saturating_sub(block.generation) > USUAL_LAG);
    Verdict {
        lacking: pool.disks.iter().filter(|r| !seen.present.contains_key(*r)).cloned().collect(),
        lost: devices.saturating_sub(seen.present.len()),
        stale: stale.map(|(role, _)| role.clone()).collect(),
    }
}

struct Opening<'a> {
    host: &'a HostFile,
    pool: &'a Pool,
    record: &'a Record,
    fsid: String,
    keys: Keys<'a>,
    trials: Trials,
    /// What was tried, one line each.
    attempts: Vec<String>,
    damaged: BTreeMap<String, String>,
}

impl<'a> Opening<'a> {
    fn new(
        host: &'a HostFile,
        name: &str,
        pool: &'a Pool,
        record: &'a Record,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            host,
            pool,
            record,
            fsid: derive(host.host.id, Purpose::Btrfs, name, 0).to_string(),
            keys: Keys::new(&host.unlock)?,
            trials: Trials::default(),
            attempts: Vec::new(),
            damaged: BTreeMap::new(),
        })
    }

    /// What was tried, and the sticks that gave no key.
    fn tried(&self) -> Vec<String> {
        self.attempts.iter().chain(&self.keys.useless).cloned().collect()
    }

    /// Waits until the file system is whole, or for as long as it is worth.
    fn wait(&mut self) -> Result<Seen, PoolError> {
        let begun = Instant::now();
        let timeout = Duration::from_secs(self.host.unlock.timeout_seconds.into());
        loop {
            let seen = self.look()?;
            let verdict = judge(self.pool, &seen);
            let whole = !seen.present.is_empty() && verdict.lost == 0;
            let expected = seen.locked.is_empty()
                && !seen.present.is_empty()
                && verdict
                    .lacking
                    .iter()
                    .all(|role| self.record.away.contains(role) || seen.damaged.contains_key(role));
            let patience = if expected { timeout.min(BRIEFLY) } else { timeout };
            if whole || begun.elapsed() >= patience {
                return Ok(seen);
            }
            sleep(Duration::from_millis(500));
        }
    }

    fn look(&mut self) -> Result<Seen, PoolError> {
        let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
        let members = Members::find(self.host, self.pool, self.record, &headers(&blocks))?;
        let mut seen = Seen { former: members.former, ..Seen::default() };
        for (role, member) in members.found {
            if !luks::is_open(&member.mapper) && !self.unlock(&member, &blocks)? {
                if !self.damaged.contains_key(&role) {
                    seen.locked.insert(role);
                }
                continue;
            }
            match Superblock::read(&mapped(&member.mapper)) {
                Ok(Some(block)) if block.fsid == self.fsid => {
                    seen.present.insert(role, (member, block));
                }
                Ok(_) => _ = seen.foreign.insert(role, member),
                Err(error) => _ = self.damaged.insert(role, error.to_string()),
            }
        }
        seen.damaged = self.damaged.clone();
        Ok(seen)
    }

    /// Tries the keys that were not tried yet. A header that cannot be used makes its member
    /// one that is missing: the others are worth opening.
    fn unlock(&mut self, member: &Member, blocks: &[Block]) -> Result<bool, PoolError> {
        for key in self.trials.new_to(&member.luks_uuid, self.keys.with(blocks)) {
            let Member { role, node, mapper, discard, .. } = member;
            let secret = key.secret.expose();
            match luks::attempt(node, Some(mapper), key.slot, secret, *discard) {
                Ok(Some(attempt)) => {
                    self.attempts.push(format!("{role} {attempt}"));
                    if attempt.fits {
                        self.damaged.remove(role);
                        return Ok(true);
                    }
                }
                Ok(None) => {}
                Err(error) => _ = self.damaged.insert(role.clone(), chain(&error)),
            }
        }
        Ok(false)
    }

    /// What is unlocked and belongs to no file system of ours is locked again.
    fn close_foreign(&self, seen: &Seen) -> Vec<String> {
        let close = |member: &Member| {
            let error = luks::close(&member.mapper).err()?;
            Some(format!("{} could not be locked again: {}", member.role, chain(&error)))
        };
        seen.foreign.values().filter_map(close).collect()
    }

    /// Why a role is lacking, and what to do.
    fn describe(&self, role: &str, seen: &Seen) -> String {
        let id = self.host.disks.get(role).map_or("no id", |disk| disk.id.as_str());
        if let Some(why) = seen.damaged.get(role) {
            format!(
                "{role} ({id}) is there but unusable ({why}); replace it with `bedplate-host pool replace {role}`"
            )
        } else if seen.locked.contains(role) {
            format!("{role} ({id}) is there but no key opens it")
        } else if seen.foreign.contains_key(role) {
            format!(
                "{role} ({id}) is encrypted but not in the pool; finish with `bedplate-host pool replace {role}` or `pool add {role}`"
            )
        } else {
            format!(
                "{role} ({id}) is not there; plug it in, or replace it with `bedplate-host pool replace {role}`"
            )
        }
    }
}
