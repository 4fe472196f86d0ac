//! Unlocking the members that are there and mounting what holds the newest history.

use bedplate_disks::pool_fs::{self, PoolFileSystem, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_luks as luks;
use bedplate_model::host::{HostFile, Media, Pool};
use bedplate_planner::pool_history::{
    Decision, Mark, Opening as Wanted, Refusal, Word, judge, needs_record,
};
use bedplate_tools::block::{self, Block};
use serde::Serialize;
use uuid::Uuid;

use super::error::{PoolError, file};
use super::faults::Faults;
use super::history;
use super::key::{Keys, Trials};
use super::member::{Member, Members, headers, mapped};
use super::mounting::Mounting;
use super::record::Record;
use super::refused;
use super::status::is_mounted;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;

/// How long members are waited for that were not there at the last boot either. A disk that
/// needs longer is left out once more, said to be missing, and brought up to date when it comes.
const BRIEFLY: Duration = Duration::from_secs(5);
/// How long a turning disk is waited for that was there the last time: as long as the kernel itself
/// goes on trying one that spins up, four resets of 10, 10, 35 and 5 seconds
/// (`ata_eh_reset_timeouts` in drivers/ata/libata-eh.c).
const SPIN_UP: Duration = Duration::from_secs(60);
/// The same of a disk that does not turn: controllers of NVMe and bridges of USB answer within
/// seconds, and a few only after half a minute (`CAP.TO` of NVMe, section 3.1.4.1).
const START_UP: Duration = Duration::from_secs(30);

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
    /// Roles of members that are not part of it; none when the disk that is lacking had no role any
    /// more.
    pub missing: Vec<Role>,
    /// What its owner should know.
    pub warnings: Vec<String>,
    /// Every key that was tried on a member, and what that cost.
    pub tried: Vec<String>,
}

/// How long is waited for what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As a boot does.
    Boot,
    /// Not at all.
    None,
}

/// Unlocks and mounts a pool.
pub fn open(
    host: &HostFile,
    name: &str,
    word: &Word,
    patience: Patience,
) -> Result<Opened, PoolError> {
    let pool = host.pools.get(name).ok_or_else(|| PoolError::Unknown { name: name.to_owned() })?;
    let (name, mount) = (name.to_owned(), pool.mount.clone());
    if is_mounted(pool)? {
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
    if let Word::Keep(role) = word
        && !pool.disks.contains(role)
    {
        return Err(PoolError::NoRole { pool: name, role: role.clone() });
    }
    let mut record = Record::read(&name)?;
    let mut opening = Opening::new(host, &name, pool, &record, word)?;
    let (mut seen, mut decision) = opening.wait(patience)?;
    let mut warnings = opening.close_foreign(&seen);
    // What cannot be marked, or keeps the kernel from mounting the rest, is left out; each time
    // there is one member less.
    for _ in 0..=pool.disks.len() {
        let wanted = opening.allowed(&seen, decision)?;
        let needs_record = needs_record(&history::kept(&opening.record), &wanted, word);
        let mounting = Mounting {
            name: &name,
            file_system: opening.file_system,
            mount: &mount,
            roles: &pool.disks,
            seen: &seen,
            wanted: &wanted,
            needs_record,
        };
        let left_out = mounting.perform(&mut record, &mut warnings)?;
        if left_out.is_empty() {
            return Ok(opening.opened(&name, &mount, &seen, &wanted, warnings));
        }
        for (role, why) in left_out {
            seen.present.remove(&role);
            seen.damaged.insert(role, why);
        }
        // What was marked until then is known from now on.
        opening.record = Record::read(&name)?;
        decision = opening.decide(&seen)?;
    }
    Err(PoolError::Unknown { name })
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

/// What was seen of a pool's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Unlocked, and part of the file system, also when it is behind.
    pub present: BTreeMap<Role, (Member, Told)>,
    /// Unlocked, and part of no file system or another one.
    pub foreign: BTreeMap<Role, Member>,
    /// There, and no key opens them.
    pub locked: BTreeSet<Role>,
    /// There, and unusable.
    pub damaged: BTreeMap<Role, String>,
    /// There, and it could not be looked at just now.
    pub failing: BTreeMap<Role, String>,
    /// What the headers of those say that are present; none when it is no mark.
    pub marks: BTreeMap<Role, Option<Mark>>,
    /// Replaced or taken out.
    pub former: Vec<Member>,
}

/// How long is waited for disks of these media, all of which were there the last time. What is locked
/// is waited for as long as its owner says: somebody may bring the key.
pub(super) fn patience(timeout: Duration, awaited: &[Option<Media>], for_keys: bool) -> Duration {
    let disk = |media: &Option<Media>| match media {
        Some(Media::Ssd) => START_UP,
        Some(Media::Hdd) | None => SPIN_UP,
    };
    let disks = awaited.iter().map(disk).max().map(|disk| disk.max(timeout));
    disks.unwrap_or(if for_keys { timeout } else { timeout.min(BRIEFLY) })
}

/// What is in a member.
enum Inside {
    /// Our file system, and what the header says of its history.
    Present(Told, Option<Mark>),
    /// Another, or none.
    Foreign,
    /// No key fits.
    Locked,
}

struct Opening<'a> {
    host: &'a HostFile,
    name: String,
    pool: &'a Pool,
    file_system: &'static dyn PoolFileSystem,
    record: Record,
    word: &'a Word,
    id: Uuid,
    keys: Keys<'a>,
    trials: Trials,
    /// What was tried, one line each.
    attempts: Vec<String>,
    faults: Faults,
    /// Mappings that led nowhere, and were closed.
    shut: BTreeSet<String>,
}

impl<'a> Opening<'a> {
    fn new(
        host: &'a HostFile,
        name: &str,
        pool: &'a Pool,
        record: &Record,
        word: &'a Word,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            host,
            name: name.to_owned(),
            pool,
            file_system: pool_fs::of(pool.file_system()),
            record: record.clone(),
            word,
            id: super::id(host, name),
            keys: Keys::new(&host.unlock)?,
            trials: Trials::default(),
            attempts: Vec::new(),
            faults: Faults::default(),
            shut: BTreeSet::new(),
        })
    }

    /// What was tried, and the sticks that gave no key.
    fn tried(&self) -> Vec<String> {
        self.attempts.iter().cloned().chain(self.keys.useless()).collect()
    }

    /// Waits until everybody is there, or for as long as it is worth.
    fn wait(&mut self, patience: Patience) -> Result<(Seen, Decision), PoolError> {
        let begun = Instant::now();
        loop {
            let seen = self.look()?;
            let decision = self.decide(&seen)?;
            let lacking = self.lacking(&seen);
            let whole = matches!(&decision, Decision::Open(opening) if opening.lost == 0);
            let at_once = patience == Patience::None && seen.failing.is_empty();
            let done = whole || lacking.is_empty() || at_once;
            if done || begun.elapsed() >= self.patience(&seen, &lacking) {
                return Ok((seen, decision));
            }
            sleep(Duration::from_millis(500));
        }
    }

    /// Roles whose disk, or what is on it, is not there.
    fn lacking(&self, seen: &Seen) -> Vec<Role> {
        self.pool.disks.iter().filter(|role| !seen.present.contains_key(*role)).cloned().collect()
    }

    fn patience(&self, seen: &Seen, lacking: &[Role]) -> Duration {
        let timeout = Duration::from_secs(self.host.unlock.timeout_seconds.into());
        let media = |role: &Role| self.host.disks.get(role).map(|disk| disk.media);
        let awaited: Vec<_> = lacking
            .iter()
            .filter(|role| !self.record.away.contains(*role) && !seen.damaged.contains_key(*role))
            .filter(|role| !seen.locked.contains(*role))
            .map(media)
            .collect();
        patience(timeout, &awaited, !seen.locked.is_empty() || seen.present.is_empty())
    }

    fn decide(&self, seen: &Seen) -> Result<Decision, PoolError> {
        let known = seen.present.iter().map(|(role, (member, told))| {
            let mark = seen.marks.get(role).cloned().flatten();
            (role.clone(), history::seen(member, told, mark))
        });
        let fresh = history::fresh(self.host)?;
        Ok(judge(&known.collect(), &history::kept(&self.record), self.word, &fresh))
    }

    /// How it is to be mounted; why it is not is an error.
    fn allowed(&self, seen: &Seen, decision: Decision) -> Result<Wanted, PoolError> {
        let name = self.name.clone();
        if seen.present.is_empty() && !seen.locked.is_empty() {
            let roles = seen.locked.iter().cloned().collect::<Vec<_>>().join(", ");
            let tried = self.tried().iter().map(|line| format!("; {line}")).collect();
            return Err(PoolError::Locked { pool: name, roles, tried });
        }
        let refusal = match decision {
            Decision::Open(wanted) => return Ok(wanted),
            Decision::Refused(refusal) => refusal,
        };
        let lacking: Vec<String> =
            self.lacking(seen).iter().map(|role| self.describe(role, seen)).collect();
        if let Refusal::TooFew { current, behind, lost } = &refusal {
            let present = current.len();
            let wanted = if present == 0 { self.pool.disks.len() } else { present + lost };
            let behind = behind.iter().map(|role| format!("{role} is there and behind the others"));
            let lacking = lacking.into_iter().chain(behind).collect::<Vec<_>>().join("; ");
            return Err(PoolError::TooFew { pool: name, present, wanted, lacking });
        }
        let why = refused::why(self.host, self.pool, &name, &refusal, &lacking);
        Err(PoolError::History { pool: name, why })
    }

    fn opened(
        &self,
        name: &str,
        mount: &str,
        seen: &Seen,
        wanted: &Wanted,
        mut warnings: Vec<String>,
    ) -> Opened {
        let degraded = wanted.lost > 0;
        let mut missing = self.lacking(seen);
        let mut lacking: Vec<String> =
            missing.iter().map(|role| self.describe(role, seen)).collect();
        for role in wanted.behind.iter().chain(&wanted.target) {
            missing.push(role.clone());
            lacking.push(format!(
                "{role} was away while the pool was written to and is brought up to date by itself"
            ));
        }
        warnings.extend(lacking_warnings(name, degraded, lacking));
        warnings.extend(wanted.doubtful.iter().map(|role| {
            format!("{role} was away while pool {name} was written to: run `bedplate-host pool scrub {name}`")
        }));
        warnings.extend(seen.former.iter().map(|old| {
            format!("{} was replaced as {} and is not used", old.node.display(), old.role)
        }));
        let missing = if degraded { missing } else { Vec::new() };
        let (name, mount, tried) = (name.to_owned(), mount.to_owned(), self.tried());
        Opened { name, mount, already: false, degraded, missing, warnings, tried }
    }

    fn look(&mut self) -> Result<Seen, PoolError> {
        let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
        let members = Members::find(self.host, self.pool, &self.record, &headers(&blocks))?;
        let mut seen = Seen { former: members.former, ..Seen::default() };
        let gone = self.pool.disks.iter().filter(|role| !members.found.contains_key(*role));
        gone.for_each(|role| self.faults.passed(role));
        for (role, member) in members.found {
            match self.look_into(&member, &blocks) {
                Ok(inside) => {
                    self.faults.passed(&role);
                    match inside {
                        Inside::Present(told, mark) => {
                            seen.marks.insert(role.clone(), mark);
                            seen.present.insert(role, (member, told));
                        }
                        Inside::Foreign => _ = seen.foreign.insert(role, member),
                        Inside::Locked => _ = seen.locked.insert(role),
                    }
                }
                Err(why) => {
                    self.faults.failed(&role, why, Instant::now());
                    self.shut_for_good(&member);
                }
            }
        }
        let now = Instant::now();
        (seen.damaged, seen.failing) = (self.faults.lasting(now), self.faults.passing(now));
        Ok(seen)
    }

    /// A mapping through which nothing can be read is of a disk that was pulled, and may be back under
    /// another name: it is unlocked anew, once. Nobody uses it while the pool is not mounted.
    fn shut_for_good(&mut self, member: &Member) {
        let Member { role, mapper, .. } = member;
        let is_worth_it = self.faults.is_lasting(role, Instant::now()) && luks::is_open(mapper);
        if !is_worth_it || !self.shut.insert(mapper.to_string()) {
            return;
        }
        let why = match luks::close(mapper) {
            Ok(()) => {
                self.trials.forget_all(&member.luks_uuid);
                // It has the time of one that has just come.
                self.faults.passed(role);
                "its mapping led nowhere and was closed".to_owned()
            }
            Err(error) => in_line(&error),
        };
        self.faults.failed(role, why, Instant::now());
    }

    /// What is in one member, unlocked where a key fits. What cannot be read says nothing: taken for a
    /// member without a mark, or for one that is lost, it would be left out and written anew.
    fn look_into(&mut self, member: &Member, blocks: &[Block]) -> Result<Inside, String> {
        if !luks::is_open(&member.mapper) && !self.unlock(member, blocks)? {
            return Ok(Inside::Locked);
        }
        let told = self.file_system.told(&mapped(&member.mapper));
        match told.map_err(|error| error.to_string())? {
            Some(told) if told.pool == self.id => {
                let mark = history::try_read(member).map_err(|error| in_line(&error))?;
                Ok(Inside::Present(told, mark))
            }
            _ => Ok(Inside::Foreign),
        }
    }

    /// Tries the keys that were not tried yet. A header that cannot be used makes its member
    /// one that is missing: the others are worth opening.
    fn unlock(&mut self, member: &Member, blocks: &[Block]) -> Result<bool, String> {
        let mut failed = None;
        for key in self.trials.new_to(&member.luks_uuid, self.keys.with(blocks)) {
            let Member { role, node, mapper, discard, .. } = member;
            let secret = key.secret.expose();
            match luks::attempt(node, Some(mapper), key.slot, secret, *discard) {
                Ok(Some(attempt)) => {
                    self.attempts.push(format!("{role} {attempt}"));
                    if attempt.fits {
                        return Ok(true);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.trials.forget(&member.luks_uuid, &key);
                    failed = Some(in_line(&error));
                }
            }
        }
        failed.map_or(Ok(false), Err)
    }

    /// What is unlocked and belongs to no file system of ours is locked again.
    fn close_foreign(&self, seen: &Seen) -> Vec<String> {
        let close = |member: &Member| {
            let error = luks::close(&member.mapper).err()?;
            Some(format!("{} could not be locked again: {}", member.role, in_line(&error)))
        };
        seen.foreign.values().filter_map(close).collect()
    }

    /// Why a role is lacking, and what to do.
    fn describe(&self, role: &Role, seen: &Seen) -> String {
        let id = self.host.disks.get(role).map_or("no id", |disk| disk.id.as_str());
        if let Some(why) = seen.damaged.get(role) {
            format!(
                "{role} ({id}) is there but unusable ({why}); replace it with `bedplate-host pool replace {role}`"
            )
        } else if let Some(why) = seen.failing.get(role) {
            format!(
                "{role} ({id}) is there and could not be read ({why}); see to its cable and power, then restart the machine"
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
