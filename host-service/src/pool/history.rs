//! Marks of who has the newest history, as they stand on the OS disk and in the members' headers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use bedplate_disks::pool_fs::{Live, Told};
use bedplate_events::shown::shown;
use bedplate_luks as luks;
use bedplate_model::host::{HostFile, Pool};
use bedplate_model::identity::{Purpose, derive, epoch_of};
use bedplate_planner::pool_history::{
    Fresh, Kept, Mark, Place, Seen, Standing, TOKEN, newest, places,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::PoolError;
use super::member::{Member, Members};
use super::record::Record;
use crate::backup::record::now;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;

/// How often a header is tried to be marked, and the time in between.
const TRIES: u32 = 3;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_secs(1);
/// Random bytes in the name of an era.
const NAME_BYTES: usize = 6;

/// A mark that could not be written to every place, and what could not be.
#[derive(Debug, Default)]
pub struct Marked {
    /// Roles whose header could not be written, and why.
    pub failed: BTreeMap<Role, String>,
    /// Why the record could not be written.
    pub record: Option<String>,
    /// Whether the record stays and says something else.
    pub is_outdated: bool,
}

/// What a header says of its history; none when it cannot be read, or says what is no mark.
pub fn read(member: &Member) -> Option<Mark> {
    try_read(member).ok().flatten()
}

/// The same, where a header that cannot be read is not taken for one without a mark.
pub fn try_read(member: &Member) -> Result<Option<Mark>, luks::LuksError> {
    let token = luks::read_beside(&member.node, TOKEN)?;
    Ok(token.as_ref().and_then(Mark::from_token))
}

/// Writes a mark into a header, durably.
pub fn write(node: &std::path::Path, mark: &Mark) -> Result<(), luks::LuksError> {
    luks::write_beside(node, TOKEN, &mark.to_token())
}

/// The same, tried again where it fails: who cannot be marked is left out, and is behind from then on.
fn write_again(node: &std::path::Path, mark: &Mark) -> Result<(), luks::LuksError> {
    for _ in 1..TRIES {
        if write(node, mark).is_ok() {
            return Ok(());
        }
        sleep(PAUSE);
    }
    write(node, mark)
}

/// A name that no era had.
pub fn fresh(host: &HostFile) -> Result<Fresh, PoolError> {
    let mut bytes = [0; NAME_BYTES];
    getrandom::fill(&mut bytes).map_err(PoolError::Random)?;
    let id = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Fresh { id, now: now(), host: host.host.name.clone() })
}

/// What a member that is there and unlocked tells.
pub fn seen(member: &Member, told: &Told, mark: Option<Mark>) -> Seen {
    let standing = match told {
        Told { hidden: true, .. } => Standing::Hidden,
        Told { number: None, .. } => Standing::Target,
        _ => Standing::Member,
    };
    Seen {
        uuid: member.luks_uuid.clone(),
        mark,
        generation: told.generation,
        devices: told.members,
        standing,
    }
}

/// What the record tells.
pub fn kept(record: &Record) -> Kept {
    let Record { known, mark, generation, away, stale, .. } = record.clone();
    let mark = mark.filter(Mark::is_sound);
    Kept { known, mark, generation, away, stale }
}

/// Keeps a mark in the record and on every one of `members`, in the order in which a power cut
/// leaves no two histories. Where the record is needed and stays as it was, nothing follows.
pub fn keep(
    name: &str,
    record: &mut Record,
    mark: &Mark,
    members: &[&Member],
    needs_record: bool,
) -> Marked {
    let carried: Vec<_> =
        members.iter().map(|member| (member.role.clone(), read(member))).collect();
    let mut marked = Marked::default();
    if record.mark.as_ref() != Some(mark) {
        record.generation = 0;
    }
    record.mark = Some(mark.clone());
    for place in places(mark, &carried) {
        match place {
            Place::Record => {
                marked.record = record.write(name).err().map(|error| in_line(&error));
                marked.is_outdated = marked.record.is_some() && !Record::forget_unless(name, mark);
                if marked.is_outdated && needs_record {
                    return marked;
                }
            }
            Place::Member(role) => {
                let same =
                    carried.iter().any(|(one, has)| *one == role && has.as_ref() == Some(mark));
                let member = members.iter().find(|member| member.role == role);
                if let Some(member) = member.filter(|_| !same)
                    && let Err(error) = write_again(&member.node, mark)
                {
                    marked.failed.insert(role, in_line(&error));
                }
            }
        }
    }
    marked
}

/// The members that are part of what is mounted, as far as their disks are still there.
pub fn mounted<'m>(members: &'m Members, live: &Live) -> Vec<&'m Member> {
    let is_there = |member: &&Member| {
        live.devices.contains(member.mapper.as_str())
            && !live.silent.contains(member.mapper.as_str())
    };
    members.found.values().filter(is_there).collect()
}

/// Those of them that have everything, by the newest mark: a disk that dropped out and is plugged in
/// again lies behind a mapping that leads nowhere, and missed what was written since.
pub fn holders<'m>(members: &'m Members, live: &Live, head: Option<&Mark>) -> Vec<&'m Member> {
    let mut all = mounted(members, live);
    all.retain(|member| head.is_none_or(|mark| mark.members.contains(&member.luks_uuid)));
    all
}

/// The newest of what the record and these members say: a record that could not be written is behind.
pub fn newest_of(record: &Record, members: &[&Member]) -> Option<Mark> {
    let carried: Vec<Mark> = members.iter().filter_map(|member| read(member)).collect();
    let kept = record.mark.as_ref().filter(|mark| mark.is_sound());
    newest(carried.iter().chain(kept))
}

/// Begins the era of those that are written to from now on, unless it is the one there is. `joining`
/// is about to be.
pub fn settle(
    host: &HostFile,
    name: &str,
    live: &Live,
    members: &Members,
    joining: Option<&Member>,
) -> Result<(), PoolError> {
    let mut record = Record::read(name)?;
    let head = newest_of(&record, &mounted(members, live));
    let mut all = holders(members, live, head.as_ref());
    all.extend(joining.filter(|new| !live.devices.contains(new.mapper.as_str())));
    let uuids: BTreeSet<String> = all.iter().map(|member| member.luks_uuid.clone()).collect();
    let mark = match head {
        Some(mark) if mark.members == uuids && mark.target.is_none() => mark,
        Some(mark) => fresh(host)?.after([mark.line.as_slice()], uuids, None),
        None => fresh(host)?.after([], uuids, None),
    };
    let marked = keep(name, &mut record, &mark, &all, false);
    match marked.failed.into_iter().next() {
        None => Ok(()),
        Some((role, why)) => Err(PoolError::Mark { pool: name.to_owned(), role, why }),
    }
}

/// The roles whose disks a mark names, with the ids of host.toml: what to plug in.
pub fn wanted(host: &HostFile, pool: &Pool, mark: &Mark) -> Vec<String> {
    let named = |role: &&Role| {
        mark.members.iter().any(|uuid| epoch_of(host.host.id, Purpose::Luks, role, uuid).is_some())
    };
    let described = |role: &Role| {
        let id = host.disks.get(role).map_or("no id", |disk| disk.id.as_str());
        format!("{role} ({id})")
    };
    pool.disks.iter().filter(named).map(described).collect()
}

/// Since when an era is, and by which machine, for people.
pub fn when(mark: &Mark) -> String {
    let time = i64::try_from(mark.since).ok();
    let time = time.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let time = time.and_then(|time| time.format(&Rfc3339).ok());
    format!("since {} by {}", time.unwrap_or_else(|| "an unknown time".into()), shown(&mark.host))
}

/// The UUID that the header of a role has, by the record.
pub fn uuid_of(host: &HostFile, record: &Record, role: &Role) -> String {
    let epoch = record.epochs.get(role).copied().unwrap_or(0);
    derive(host.host.id, Purpose::Luks, role, epoch).to_string()
}

/// A place for a mapping that nobody but us looks at.
pub fn unseen(member: &Member) -> (String, PathBuf) {
    let mapper = format!("{}-unseen", member.mapper);
    let node = super::member::mapped(&mapper);
    (mapper, node)
}
