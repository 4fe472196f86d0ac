//! Mounting what holds the newest history, and nothing else: marked first, the rest out of sight.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_disks::pool_fs::{Opening, PoolFileSystem, Progress};
use bedplate_luks as luks;
use bedplate_planner::pool_history;
use bedplate_tools::mount::Access;

use super::error::{PoolError, file};
use super::history;
use super::member::{Member, mapped};
use super::open::Seen;
use super::record::Record;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;

/// What is mounted, and how.
pub(super) struct Mounting<'a> {
    /// Name of the pool.
    pub name: &'a str,
    /// Its file system.
    pub file_system: &'static dyn PoolFileSystem,
    /// The directory that it is mounted at.
    pub mount: &'a str,
    /// Its roles in host.toml.
    pub roles: &'a [Role],
    /// What is there.
    pub seen: &'a Seen,
    /// What was decided.
    pub wanted: &'a pool_history::Opening,
    /// Whether it is only mounted where the record can be kept.
    pub needs_record: bool,
}

impl Mounting<'_> {
    /// Marks, hides and mounts. Roles that it could not be done with, and why: then nothing was
    /// mounted.
    pub fn perform(
        &self,
        record: &mut Record,
        warnings: &mut Vec<String>,
    ) -> Result<BTreeMap<Role, String>, PoolError> {
        let current = self.members(&self.wanted.current);
        self.note(record);
        let mark = &self.wanted.mark;
        let marked = history::keep(self.name, record, mark, &current, self.needs_record);
        if let Some(why) =
            marked.record.as_ref().filter(|_| marked.is_outdated && self.needs_record)
        {
            return Err(PoolError::Unkept { pool: self.name.to_owned(), why: why.clone() });
        }
        self.leave_alone(&self.members(marked.failed.keys()), warnings);
        if !marked.failed.is_empty() {
            return Ok(marked.failed);
        }
        if let Some(why) = marked.record {
            warnings.push(format!("the state of pool {} could not be kept: {why}", self.name));
        }
        for member in self.members(&self.wanted.behind) {
            put_out_of_sight(self.file_system, member)?;
        }
        // Chosen by somebody's word.
        for member in current.iter().filter(|member| self.is_hidden(member)) {
            let node = mapped(&member.mapper);
            self.file_system.show(&node).map_err(file("take back into the pool", &node))?;
        }
        let degraded = self.wanted.lost > 0;
        let target = self.wanted.target.iter().flat_map(|role| self.member(role));
        let all: Vec<&Member> = current.iter().copied().chain(target).collect();
        match (mount_members(self.file_system, self.mount, &all, degraded), &self.wanted.target) {
            (Ok(()), _) => {}
            // It begins again from the start instead.
            (Err(error), Some(role)) => {
                for member in self.members([role]) {
                    put_out_of_sight(self.file_system, member)?;
                }
                return Ok(BTreeMap::from([(role.clone(), in_line(&error))]));
            }
            (Err(error), None) => return self.without_torn(&current, warnings).ok_or(error),
        }
        if degraded && self.wanted.target.is_none() {
            self.give_up_replacing(warnings);
        }
        Ok(BTreeMap::new())
    }

    /// Members of which a power cut tore what they say of themselves: the kernel mounts nothing by it, and the others have
    /// everything. None where that is not what is wrong.
    fn without_torn(
        &self,
        current: &[&Member],
        warnings: &mut Vec<String>,
    ) -> Option<BTreeMap<Role, String>> {
        let is_torn = |member: &&&Member| {
            let told = self.file_system.told(&mapped(&member.mapper));
            told.is_ok_and(|told| told.is_some_and(|told| told.torn))
        };
        let torn: Vec<&Member> = current.iter().filter(is_torn).copied().collect();
        if torn.is_empty() || torn.len() == current.len() {
            return None;
        }
        self.leave_alone(&torn, warnings);
        let why = "the checksum of its superblock is wrong".to_owned();
        Some(torn.iter().map(|member| (member.role.clone(), why.clone())).collect())
    }

    /// They are locked again, and nothing of them is changed: the kernel would mount them with the others
    /// all the same, once udev has told it of their mappings.
    fn leave_alone(&self, members: &[&Member], warnings: &mut Vec<String>) {
        for member in members {
            let locked = self
                .file_system
                .forget(&mapped(&member.mapper))
                .map_err(PoolError::from)
                .and_then(|()| Ok(luks::close(&member.mapper)?));
            warnings.extend(locked.err().map(|error| {
                format!("{} could not be locked again: {}", member.role, in_line(&error))
            }));
        }
    }

    /// One that waits for a device that is not there would go on where it stopped when the device
    /// comes back, and leave out what was written meanwhile.
    fn give_up_replacing(&self, warnings: &mut Vec<String>) {
        let mount = Path::new(self.mount);
        if let Ok(Progress::Suspended) = self.file_system.progress(mount)
            && let Err(error) = self.file_system.give_up(mount)
        {
            let name = self.name;
            warnings
                .push(format!("pool {name}: what was begun is not given up: {}", in_line(&error)));
        }
    }

    fn note(&self, record: &mut Record) {
        let lacks = |role: &&Role| self.wanted.lost > 0 && !self.wanted.current.contains(*role);
        record.away = self.roles.iter().filter(lacks).cloned().collect();
        record.stale = self.wanted.doubtful.clone();
        // Those that are mounted come last: what the others say may be long past.
        for role in self.wanted.behind.iter().chain(&self.wanted.current) {
            if let Some((member, told)) = self.seen.present.get(role)
                && let Some(number) = told.number
            {
                record.number(&member.luks_uuid, number);
            }
        }
    }

    fn is_hidden(&self, member: &Member) -> bool {
        self.seen.present.get(&member.role).is_some_and(|(_, told)| told.hidden)
    }

    fn member(&self, role: &Role) -> Option<&Member> {
        self.seen.present.get(role).map(|(member, _)| member)
    }

    fn members<'r>(&self, roles: impl IntoIterator<Item = &'r Role>) -> Vec<&Member> {
        roles.into_iter().filter_map(|role| self.member(role)).collect()
    }
}

/// A member that is behind: no scan may make it a part of what is mounted. It stays unlocked, for
/// those who bring it up to date.
pub(super) fn put_out_of_sight(
    file_system: &dyn PoolFileSystem,
    member: &Member,
) -> Result<(), PoolError> {
    let node = mapped(&member.mapper);
    if let Err(error) = file_system.hide(&node) {
        // The kernel cannot read what is locked, either.
        luks::close(&member.mapper).map_err(|_| file("put out of sight", &node)(error))?;
    }
    Ok(file_system.forget(&node)?)
}

fn mount_members(
    file_system: &dyn PoolFileSystem,
    mount: &str,
    members: &[&Member],
    degraded: bool,
) -> Result<(), PoolError> {
    let target = Path::new(mount);
    fs::create_dir_all(target).map_err(file("make", target))?;
    let nodes: Vec<PathBuf> = members.iter().map(|member| mapped(&member.mapper)).collect();
    let (at, access) = (target, Access::ReadWrite);
    Ok(file_system.open(&Opening { members: &nodes, at, degraded, access })?)
}
