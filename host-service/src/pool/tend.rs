//! Looking after pools while the machine runs: a disk that drops out is noted, one that comes back is
//! brought up to date, and what was written in one copy meanwhile gets its second.

use bedplate_disks::pool_fs::{self, Live, PoolFileSystem};
use std::collections::BTreeSet;
use std::path::Path;

use bedplate_luks as luks;
use bedplate_model::host::{HostFile, Pool};
use bedplate_planner::pool_history::{Mark, Word};
use bedplate_tools::block::{self, Block};
use bedplate_tools::systemctl;
use uuid::Uuid;

use super::error::{PoolError, file};
use super::history;
use super::member::{Header, Member, Members, headers};
use super::open::{Patience, open};
use super::record::Record;
use super::resync::{Came, Resync};
use super::status::{is_mounted, is_unsealed};
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;

/// Looks after every pool; `tell` gets a line for each thing that was done. One that cannot be looked
/// after hides no other.
pub fn tend(host: &HostFile, tell: &mut dyn FnMut(String)) -> Result<(), PoolError> {
    let mut failure = None;
    for (name, pool) in &host.pools {
        if let Err(error) = one(host, name, pool, tell) {
            tell(format!("pool {name}: {}", in_line(&error)));
            failure = Some(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

fn one(
    host: &HostFile,
    name: &str,
    pool: &Pool,
    tell: &mut dyn FnMut(String),
) -> Result<(), PoolError> {
    let Some(found) = look(host, name, pool, tell)? else { return Ok(()) };
    found.begin_history()?;
    found.note_dropped(tell)?;
    found.bring_back(tell)?;
    // What was done changed what there is.
    let Some(found) = TendedPool::look(host, name, pool)? else { return Ok(()) };
    found.convert(tell)?;
    found.note_state()
}

/// What cannot wait until `busy` is done with, for hours: in another pool a disk drops out, which is noted
/// before much is written without it, or what it could not be opened for comes.
pub(super) fn others(host: &HostFile, busy: &str, tell: &mut dyn FnMut(String)) {
    for (name, pool) in host.pools.iter().filter(|(name, _)| *name != busy) {
        let found = look(host, name, pool, tell);
        let noted = found.and_then(|found| found.map_or(Ok(()), |it| it.note_dropped(tell)));
        if let Err(error) = noted {
            tell(format!("pool {name}: {}", in_line(&error)));
        }
    }
}

/// What there is of a mounted pool. One that is not mounted is tried again, and then left alone.
fn look<'a>(
    host: &'a HostFile,
    name: &'a str,
    pool: &'a Pool,
    tell: &mut dyn FnMut(String),
) -> Result<Option<TendedPool<'a>>, PoolError> {
    if is_mounted(pool)? {
        return TendedPool::look(host, name, pool);
    }
    try_again(host, name, tell).map(|()| None)
}

/// A pool that was not opened at boot for want of a disk. One that somebody unmounted stays so.
fn try_again(host: &HostFile, name: &str, tell: &mut dyn FnMut(String)) -> Result<(), PoolError> {
    let unit = format!("bedplate-pool@{name}.service");
    if !systemctl::failed(&unit)?.contains(&unit) {
        return Ok(());
    }
    match open(host, name, &Word::None, Patience::None) {
        Ok(opened) => tell(opened.to_string()),
        // It was told when the unit failed.
        Err(_) => return Ok(()),
    }
    Ok(systemctl::start(&unit)?)
}

struct TendedPool<'a> {
    host: &'a HostFile,
    name: &'a str,
    pool: &'a Pool,
    file_system: &'static dyn PoolFileSystem,
    id: Uuid,
    blocks: Vec<Block>,
    headers: Vec<Header>,
    members: Members,
    record: Record,
    live: Live,
}

impl<'a> TendedPool<'a> {
    fn look(host: &'a HostFile, name: &'a str, pool: &'a Pool) -> Result<Option<Self>, PoolError> {
        let (file_system, id) = (pool_fs::of(pool.file_system()), super::id(host, name));
        let Some(live) = file_system.live(id)? else { return Ok(None) };
        let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
        let headers = headers(&blocks);
        let mut record = Record::read(name)?;
        let members = Members::find(host, pool, &record, &headers)?;
        record.mark = history::newest_of(&record, &history::mounted(&members, &live));
        Ok(Some(Self { host, name, pool, file_system, id, blocks, headers, members, record, live }))
    }

    /// A pool that was mounted by a system that knew no marks.
    fn begin_history(&self) -> Result<(), PoolError> {
        let whole =
            self.live.missing == 0 && self.live.targets.is_empty() && self.live.silent.is_empty();
        if self.record.mark.is_some() || !whole || !self.record.stale.is_empty() {
            return Ok(());
        }
        history::settle(self.host, self.name, &self.live, &self.members, None)
    }

    /// A disk that is gone, or no longer says who it is, while the kernel goes on writing to the
    /// others: at the next boot it is behind.
    fn note_dropped(&self, tell: &mut dyn FnMut(String)) -> Result<(), PoolError> {
        let Some(mark) = self.record.mark.clone().filter(Mark::is_sound) else { return Ok(()) };
        let dropped = dropped(&self.record, self.host, self.pool, &self.live, &self.headers);
        let left = history::holders(&self.members, &self.live, Some(&mark));
        let uuids: BTreeSet<String> = left.iter().map(|member| member.luks_uuid.clone()).collect();
        if dropped.is_empty() || left.is_empty() || uuids == mark.members {
            return Ok(());
        }
        let era = history::fresh(self.host)?.after([mark.line.as_slice()], uuids, None);
        let mut record = self.record.clone();
        let marked = history::keep(self.name, &mut record, &era, &left, false);
        tell(format!(
            "pool {}: {} dropped out while it was mounted; what is written from now on is noted as written \
             without it",
            self.name,
            dropped.join(", ")
        ));
        match marked.failed.into_iter().next() {
            None => Ok(()),
            Some((role, why)) => Err(PoolError::Mark { pool: self.name.to_owned(), role, why }),
        }
    }

    fn bring_back(&self, tell: &mut dyn FnMut(String)) -> Result<(), PoolError> {
        let (name, mut record) = (self.name, self.record.clone());
        for (role, member) in &self.members.found {
            let resync = Resync {
                host: self.host,
                name: self.name,
                mount: Path::new(&self.pool.mount),
                file_system: self.file_system,
                id: self.id,
                blocks: &self.blocks,
                members: &self.members,
                member,
                live: &self.live,
            };
            let inside = self.live.devices.contains(member.mapper.as_str());
            let back = !inside && self.live.missing > 0 && !is_unsealed(&member.node);
            if !back && !resync.is_under_way(&record) {
                continue;
            }
            match resync.run(&mut record, &mut || others(self.host, name, tell))? {
                Came::UpToDate { unreadable: 0 } => {
                    tell(format!("pool {name}: {role} is up to date again"));
                }
                Came::UpToDate { unreadable } => tell(format!(
                    "pool {name}: {role} is up to date but for {unreadable} places that no other disk could \
                     read, where it keeps what it held before: run `bedplate-host pool scrub {name}`"
                )),
                Came::Locked => tell(format!(
                    "pool {name}: {role} is back and no key opens it: plug in the key stick, then run \
                     `systemctl start bedplate-pool-tend`"
                )),
                Came::NotWanted => {}
            }
        }
        Ok(())
    }

    /// What was written in one copy while too few disks were there.
    fn convert(&self, tell: &mut dyn FnMut(String)) -> Result<(), PoolError> {
        let mixed = !self.live.single.is_empty();
        let live = &self.live;
        let whole = live.missing == 0 && live.targets.is_empty() && live.silent.is_empty();
        let changing = self.members.found.values().any(|member| is_unsealed(&member.node));
        if !mixed || !whole || changing || live.devices.len() < 2 {
            return Ok(());
        }
        let mount = Path::new(&self.pool.mount);
        self.file_system.spread(mount, &mut || others(self.host, self.name, tell))?;
        tell(format!("pool {}: what was written in one copy has two again", self.name));
        Ok(())
    }

    /// What every member has reached, and which device each of them is.
    fn note_state(&self) -> Result<(), PoolError> {
        let mut record = Record::read(self.name)?;
        let before = record.clone();
        let mounted = history::mounted(&self.members, &self.live);
        let uuids: BTreeSet<String> = mounted.iter().map(|one| one.luks_uuid.clone()).collect();
        let same = record.mark.as_ref().is_some_and(|mark| mark.members == uuids);
        for member in mounted {
            if let Some(number) = self.live.numbers.get(member.mapper.as_str()) {
                record.number(&member.luks_uuid, *number);
            }
        }
        if same {
            record.generation = record.generation.max(self.live.generation);
        }
        if record == before {
            return Ok(());
        }
        record.write(self.name).map_err(|error| PoolError::File {
            action: "keep what was seen of the pool in",
            path: error.path,
            source: error.source,
        })
    }
}

/// Roles that the kernel still counts as devices, and whose header is on no disk any more, or whose
/// mapping leads nowhere: the disk may have come back, under another name.
pub(super) fn dropped(
    record: &Record,
    host: &HostFile,
    pool: &Pool,
    live: &Live,
    headers: &[Header],
) -> Vec<Role> {
    let is_gone = |role: &&Role| {
        let uuid = history::uuid_of(host, record, role);
        let epoch = record.epochs.get(*role).copied().unwrap_or(0);
        let mapper = bedplate_model::identity::member_mapper(role, epoch);
        let is_here = headers.iter().any(|header| header.uuid == uuid);
        live.devices.contains(mapper.as_str())
            && (!is_here || live.silent.contains(mapper.as_str()))
    };
    pool.disks.iter().filter(is_gone).cloned().collect()
}

/// Whether a mapping is left of a disk that dropped out: it stays until the machine starts again.
pub(super) fn is_left_over(record: &Record, live: &Live, member: &Member) -> bool {
    let trusted = record.mark.as_ref().is_none_or(|mark| {
        mark.members.contains(&member.luks_uuid) || mark.target.as_ref() == Some(&member.luks_uuid)
    });
    live.devices.contains(member.mapper.as_str()) && !trusted && luks::is_open(&member.mapper)
}
