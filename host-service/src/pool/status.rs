//! How pools stand: what host.toml wants, what is there, and what to do about the difference.

use bedplate_disks::pool_fs::{self, Live, Progress, Words};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use bedplate_luks as luks;
use bedplate_model::host::{HostFile, Pool};
use bedplate_tools::block;
use serde::{Deserialize, Serialize};

use super::condition::{self, Condition};
use super::error::{PoolError, file};
use super::facts;
use super::member::{Header, Members, headers, role_of};
use super::record::Record;
use super::tend::{dropped, is_left_over};
use crate::backup::record::now;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;
use bedplate_resources::status as resource;

/// How a pool stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Name of the pool.
    pub name: String,
    /// Where it belongs.
    pub mount: String,
    /// The verdict.
    pub health: Health,
    /// Its members, in the order of the document.
    pub members: Vec<MemberStatus>,
    /// Devices of the file system that are not there.
    pub missing_devices: usize,
    /// How far a disk is that is being brought up to date; none when none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync: Option<Resyncing>,
    /// What its owner should do, most urgent first.
    pub next: Vec<String>,
    /// How full it is, and what its devices counted; none when it is not mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// A disk that was away and is written anew in its own place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resyncing {
    /// Its role.
    pub role: Role,
    /// How much of it is done; none while that cannot be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// Whether a pool is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Mounted, every member in, every chunk in two copies.
    Whole,
    /// Mounted and usable, but something has to be done.
    Degraded,
    /// Not mounted.
    Down,
    /// It could not be looked at.
    Unseen,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its role.
    pub role: Role,
    /// The id that host.toml gives.
    pub id: String,
    /// How it stands.
    pub state: MemberState,
    /// The device, when it is there.
    pub device: Option<String>,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Part of the mounted file system.
    InPool,
    /// Unlocked; the pool is not mounted.
    Unlocked,
    /// There, but locked.
    Locked,
    /// There, but not part of the file system: a replacement that was cut off, or a damaged disk.
    Apart,
    /// Not there.
    Missing,
    /// In host.toml, but never added.
    NotAdded,
    /// There, and behind: it was away while the pool was written to.
    Behind,
    /// Being brought up to date.
    Resyncing,
    /// It dropped out while the pool was mounted.
    DroppedOut,
}

impl Health {
    /// Exit code of `pool status`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Degraded => 3,
            Self::Down | Self::Unseen => 4,
        }
    }
}

/// How all pools stand.
pub fn status(host: &HostFile) -> Result<Vec<Status>, PoolError> {
    Ok(each(host, &plugged_in()?))
}

/// How the pool `name` stands; why that cannot be said is an error here.
pub fn status_of(host: &HostFile, name: &str) -> Result<Status, PoolError> {
    let pool = host.pools.get(name).ok_or_else(|| PoolError::Unknown { name: name.to_owned() })?;
    one(host, name, pool, &plugged_in()?)
}

fn plugged_in() -> Result<Vec<Header>, PoolError> {
    let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
    Ok(headers(&blocks))
}

/// One that cannot be looked at hides no other (T43).
pub(super) fn each(host: &HostFile, headers: &[Header]) -> Vec<Status> {
    let pools = host.pools.iter();
    pools
        .map(|(name, pool)| {
            one(host, name, pool, headers).unwrap_or_else(|error| unseen(name, pool, &error))
        })
        .collect()
}

fn unseen(name: &str, pool: &Pool, error: &PoolError) -> Status {
    Status {
        name: name.to_owned(),
        mount: pool.mount.clone(),
        health: Health::Unseen,
        members: Vec::new(),
        missing_devices: 0,
        resync: None,
        next: vec![in_line(error)],
        condition: None,
    }
}

/// How all pools stand, beside what converge looks after.
pub fn compared(host: &HostFile) -> Vec<resource::Status> {
    match status(host) {
        Ok(all) => all.into_iter().map(|one| on_time(host, compared_pool(one))).collect(),
        Err(error) => vec![resource::Status::unseen("pool", None, in_line(&error))],
    }
}

/// A scrub at a time that systemd does not understand never runs, and its timer does not fail.
fn on_time(host: &HostFile, mut status: resource::Status) -> resource::Status {
    let wrong = status.name.as_deref().and_then(|name| condition::mistyped(host, name));
    status.agrees = status.agrees && wrong.is_none();
    status.wants.extend(wrong);
    status
}

pub(super) fn compared_pool(one: Status) -> resource::Status {
    if one.health == Health::Unseen {
        return resource::Status::unseen("pool", Some(one.name), one.next.join("; "));
    }
    let condition = one.condition.as_ref().map(|found| condition::line(found, now()));
    let condition = condition.map(|line| format!("; {line}")).unwrap_or_default();
    let there = one.members.iter().filter(|member| member.state == MemberState::InPool).count();
    resource::Status {
        kind: "pool",
        agrees: one.health == Health::Whole && one.next.is_empty(),
        intent: Some(format!("{} members, mounted at {}", one.members.len(), one.mount)),
        reality: Some(match (one.health, &one.resync) {
            (Health::Down, _) => "not mounted".to_owned(),
            (Health::Whole, _) => format!("whole, {there} members{condition}"),
            (Health::Degraded, None) => format!("degraded, {there} members{condition}"),
            (Health::Degraded, Some(resync)) => {
                let percent = resync.percent.map(|percent| format!(", {percent} % done"));
                let percent = percent.unwrap_or_default();
                format!(
                    "degraded, {there} members; {} is brought up to date{percent}{condition}",
                    resync.role
                )
            }
            (Health::Unseen, _) => "could not be looked at".to_owned(),
        }),
        name: Some(one.name),
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants: one.next,
    }
}

fn one(host: &HostFile, name: &str, pool: &Pool, headers: &[Header]) -> Result<Status, PoolError> {
    let record = Record::read(name)?;
    let members = Members::find(host, pool, &record, headers)?;
    let (file_system, mount) = (pool_fs::of(pool.file_system()), Path::new(&pool.mount));
    let live = facts::live(host, name, pool)?;
    let found = live.as_ref().map(|_| condition::look(file_system, name, mount)).transpose()?;
    let errors = found.as_ref().map_or(0, |found| found.errors);
    let unsealed = members.found.values().filter(|member| is_unsealed(&member.node));
    let unsealed = unsealed.map(|member| member.role.clone()).collect();
    let dropped = live.iter().flat_map(|live| {
        let left = members.found.values().filter(|member| is_left_over(&record, live, member));
        let left = left.map(|member| member.role.clone());
        left.chain(dropped(&record, host, pool, live, headers)).collect::<Vec<_>>()
    });
    let dropped = dropped.collect();
    // What cannot be said of it is no reason to say nothing of the pool.
    let done = match live.as_ref().filter(|live| !live.targets.is_empty()) {
        Some(_) => file_system.progress(mount).ok(),
        None => None,
    };
    let done = done.and_then(|progress| match progress {
        Progress::Running(percent) => Some(percent.clamp(0.0, 100.0) as u8),
        _ => None,
    });
    let is_open = &luks::is_open;
    let reality = Reality { members, record, unsealed, dropped, live, errors, done, is_open };
    Ok(with_condition(host, judge(host, name, &reality), found))
}

/// Adds how full it is and the rest of its condition. A pool that is read-only is no whole one.
pub(super) fn with_condition(host: &HostFile, judged: Status, found: Option<Condition>) -> Status {
    let Some(condition) = found else { return judged };
    // Without a member nothing can be allocated in two copies: that it is missing is what is told.
    let is_filling = judged.missing_devices == 0;
    let wants = condition::wants(host, &judged.name, &condition, is_filling, now());
    let is_degraded = condition.read_only && judged.health == Health::Whole;
    let health = if is_degraded { Health::Degraded } else { judged.health };
    let next = judged.next.into_iter().chain(wants).collect();
    Status { health, next, condition: Some(condition), ..judged }
}

/// Whether a change that made this volume has not come to its end: the seal comes last.
pub(super) fn is_unsealed(node: &Path) -> bool {
    luks::read_token(node).ok().flatten().is_some_and(|(_, token)| !token.sealed)
}

/// What a verdict is made of.
pub(super) struct Reality<'a> {
    /// What is plugged in.
    pub members: Members,
    /// What is kept.
    pub record: Record,
    /// Roles whose volume is not finished.
    pub unsealed: BTreeSet<Role>,
    /// Roles whose disk dropped out while the pool was mounted.
    pub dropped: BTreeSet<Role>,
    /// The mounted file system; none when it is not mounted.
    pub live: Option<Live>,
    /// Errors that its devices counted.
    pub errors: u64,
    /// How much is done of what is being brought up to date, in hundredths.
    pub done: Option<u8>,
    /// Whether a mapping exists.
    pub is_open: &'a dyn Fn(&str) -> bool,
}

pub(super) fn judge(host: &HostFile, name: &str, reality: &Reality<'_>) -> Status {
    let empty = Pool::default();
    let pool = host.pools.get(name).unwrap_or(&empty);
    let inside: BTreeSet<&Role> = reality
        .live
        .iter()
        .flat_map(|live| &live.devices)
        .filter_map(|mapper| role_of(pool, mapper))
        .collect();
    let missing_devices = reality.live.as_ref().map_or(0, |live| live.missing);
    let members: Vec<MemberStatus> = pool
        .disks
        .iter()
        .map(|role| {
            let found = reality.members.found.get(role);
            let open = found.is_some_and(|member| (reality.is_open)(&member.mapper));
            let under_way = match (&reality.live, found) {
                (Some(live), Some(member)) => {
                    let target = reality.record.mark.as_ref().and_then(|mark| mark.target.as_ref());
                    let inside = live.devices.contains(member.mapper.as_str());
                    live.targets.contains(member.mapper.as_str())
                        || inside && target == Some(&member.luks_uuid)
                }
                _ => false,
            };
            let state = match (&reality.live, found) {
                (Some(_), _) if reality.dropped.contains(role) => MemberState::DroppedOut,
                (Some(_), Some(_)) if under_way => MemberState::Resyncing,
                (Some(_), _) if inside.contains(role) => MemberState::InPool,
                (Some(live), None) if live.missing == 0 => MemberState::NotAdded,
                (_, None) => MemberState::Missing,
                (Some(live), Some(_))
                    if live.missing > 0
                        && reality.record.mark.is_some()
                        && !reality.unsealed.contains(role) =>
                {
                    MemberState::Behind
                }
                (Some(_), Some(_)) => MemberState::Apart,
                (None, Some(_)) if open => MemberState::Unlocked,
                (None, Some(_)) => MemberState::Locked,
            };
            MemberStatus {
                role: role.clone(),
                id: host.disks.get(role).map(|disk| disk.id.to_string()).unwrap_or_default(),
                state,
                device: found.map(|member| member.node.display().to_string()),
            }
        })
        .collect();
    let under_way = members.iter().find(|member| member.state == MemberState::Resyncing);
    let resync =
        under_way.map(|member| Resyncing { role: member.role.clone(), percent: reality.done });
    let words = pool_fs::of(pool.file_system()).words();
    let next = next(name, words, &members, reality);
    let health = match &reality.live {
        None => Health::Down,
        Some(_) if next.is_empty() => Health::Whole,
        Some(_) => Health::Degraded,
    };
    Status {
        name: name.to_owned(),
        mount: pool.mount.clone(),
        health,
        members,
        missing_devices,
        resync,
        next,
        condition: None,
    }
}

fn next(name: &str, words: &Words, members: &[MemberStatus], reality: &Reality<'_>) -> Vec<String> {
    let mut next = Vec::new();
    let Some(live) = &reality.live else {
        return vec![format!(
            "plug in the key stick and the disks, then run `bedplate-host pool open {name}`: it says what it lacks"
        )];
    };
    for MemberStatus { role, .. } in members.iter().filter(|one| one.state == MemberState::InPool) {
        if reality.unsealed.contains(role) {
            next.push(format!(
                "what brought {role} into the pool was cut off: run that `bedplate-host pool replace {role}` (or `add`) again, before anything else"
            ));
        }
    }
    for MemberStatus { role, id, state, .. } in members {
        match state {
            MemberState::Missing => next.push(format!(
                "{role} ({id}) is missing: `bedplate-host pool replace {role} --disk NAME`, with the name of a new disk under /dev/disk/by-id"
            )),
            MemberState::Apart if live.missing > 0 => next.push(format!(
                "{role} ({id}) is there but not in the pool: `bedplate-host pool replace {role}` finishes or begins its replacement"
            )),
            MemberState::Apart | MemberState::NotAdded => next.push(format!(
                "{role} ({id}) is in host.toml but not in the pool: `bedplate-host pool add {role}`, or take it out of host.toml"
            )),
            MemberState::Behind => next.push(format!(
                "{role} ({id}) was away while the pool was written to: it is brought up to date by itself; should it not begin, plug in the key stick, then `systemctl start bedplate-pool-tend`, and `journalctl -u bedplate-pool-tend` says why"
            )),
            MemberState::Resyncing => next.push(format!(
                "{role} ({id}) is being brought up to date; until then nothing else may be lost. It goes on by itself after a power cut"
            )),
            MemberState::DroppedOut => next.push(format!(
                "{role} ({id}) dropped out while the pool was mounted: see to its cable and power, then restart the machine, which brings it up to date; or `bedplate-host pool replace {role} --disk NAME`"
            )),
            MemberState::InPool | MemberState::Unlocked | MemberState::Locked => {}
        }
    }
    if live.missing > 0 && next.is_empty() {
        next.push("a device is missing that no role of host.toml stands for: run the interrupted `pool replace` or `pool remove` again".into());
    }
    if !live.single.is_empty() {
        let single: Vec<_> = live.single.iter().map(String::as_str).collect();
        next.push(format!(
            "not everything is in two copies ({}): it gets the second by itself once no disk is missing (`systemctl start bedplate-pool-tend` begins at once)",
            single.join(", ")
        ));
    }
    for role in &reality.record.stale {
        next.push(format!(
            "{role} was away while the pool was written to: `bedplate-host pool scrub {name}`"
        ));
    }
    if reality.errors > 0 {
        next.push(format!(
            "{} device errors were counted: look at `{}`, then `bedplate-host pool scrub {name}`: a scrub that counts no more takes them for harmless",
            reality.errors, words.errors
        ));
    }
    next
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = match self.health {
            Health::Whole => "whole",
            Health::Degraded => "DEGRADED",
            Health::Down => "NOT MOUNTED",
            Health::Unseen => "COULD NOT BE LOOKED AT",
        };
        write!(formatter, "pool {}: {health}, {}", self.name, self.mount)?;
        for MemberStatus { role, state, device, id } in &self.members {
            let state = match state {
                MemberState::InPool => "in the pool",
                MemberState::Unlocked => "unlocked",
                MemberState::Locked => "locked",
                MemberState::Apart => "NOT in the pool",
                MemberState::Missing => "MISSING",
                MemberState::NotAdded => "not added",
                MemberState::Behind => "BEHIND",
                MemberState::Resyncing => "RESYNCING",
                MemberState::DroppedOut => "DROPPED OUT",
            };
            let done = self.resync.as_ref().filter(|resync| resync.role == *role);
            let done = done.and_then(|resync| resync.percent);
            let state = match done {
                Some(percent) => format!("{state} {percent} %"),
                None => state.to_owned(),
            };
            let device = device.as_deref().unwrap_or("-");
            write!(formatter, "\n  {role:10} {state:16} {device:16} {id}")?;
        }
        if let Some(found) = &self.condition {
            write!(formatter, "\n  {}", condition::line(found, now()))?;
        }
        self.next.iter().try_for_each(|line| write!(formatter, "\n  -> {line}"))
    }
}

pub(super) fn is_mounted(pool: &Pool) -> Result<bool, PoolError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(file("read", table))?;
    let kind = pool.file_system().name();
    Ok(bedplate_tools::mounts::Mounts::parse(&text).is_at(&pool.mount, kind))
}
