//! Members of a pool of the running machine: a new disk for a lost one, one more, one less.
//!
//! Pure as the plan of an installation is. What a run that was cut off has done is among the
//! facts, so that a second run plans what is left.

mod absent;
mod describe;
mod outlook;
mod standing;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::choose::{Choice, Part, recognised};
use super::refusal::{PlanError, Refusal};
use super::{content, fitness, geometry};
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{Disk, HostFile, Pool, Wipe};
use bedplate_model::identity::{Purpose, derive, esp_volume_id, member_mapper};
use bedplate_model::name::{ByIdName, MapperName, PlanHash, PoolName, Role};
use bedplate_model::plan::{Destroyed, DiskTarget, Partition};

pub use step::{Leaving, MemberStep};

/// RAID1 needs two.
const LEAST_DEVICES: usize = 2;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberTask {
    /// A new disk takes the place of the role's disk.
    Replace,
    /// The role's disk joins the pool.
    Add,
    /// The role's disk leaves the pool.
    Remove,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct MemberRequest<'a> {
    /// Whether a disk is replaced, added or removed.
    pub task: MemberTask,
    /// Whose disk.
    pub role: &'a Role,
    /// by-id name of the disk; none takes the one of `host.toml`.
    pub id: Option<&'a ByIdName>,
    /// Whether what stands on the disk may be destroyed.
    pub wipe: bool,
}

/// What was found of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolFacts {
    /// Whether it is mounted.
    pub mounted: bool,
    /// Names under `/dev/mapper` of the devices of the file system.
    pub devices: BTreeSet<String>,
    /// The numbers of the devices that it lacks, and whose they were.
    pub missing: BTreeMap<u64, Owner>,
    /// Roles whose disk dropped out while it was mounted: the kernel still counts them as devices.
    pub dropped: BTreeSet<Role>,
    /// Whether something is not RAID1.
    pub mixed: bool,
    /// The epoch the role's disk has, or had.
    pub epoch: u32,
    /// The epoch that the role's next disk gets, or that an unfinished run gave it.
    pub next_epoch: u32,
    /// Whether a volume of `next_epoch` is finished.
    pub sealed: bool,
    /// UUIDs of LUKS headers of this host's disks that are in use or could be.
    pub current: BTreeSet<String>,
}

/// Whose a device was that a pool lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The disk of this role, or one before it.
    Role(Role),
    /// A disk of a role that host.toml no longer names.
    Former,
    /// Nothing says it.
    Unknown,
}

/// Everything that will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlan {
    /// Lower-case hexadecimal SHA-256 of what identifies host, role and disk; the new header
    /// carries it.
    pub hash: PlanHash,
    /// What is wanted.
    pub task: MemberTask,
    /// Name of the pool.
    pub pool: PoolName,
    /// Where it is mounted.
    pub mount: String,
    /// Role of the disk.
    pub role: Role,
    /// What is destroyed.
    pub destroys: Vec<Destroyed>,
    /// The disk that is written to, when one still has to be.
    pub disk: Option<DiskTarget>,
    /// The steps, in order.
    pub steps: Vec<MemberStep>,
    /// What is no reason to refuse.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Plans one change of a pool.
pub fn plan_member(
    host: &HostFile,
    facts: &Facts,
    pool: &PoolFacts,
    request: &MemberRequest<'_>,
) -> Result<MemberPlan, PlanError> {
    let role = request.role;
    let Some((name, intent)) =
        host.pools.iter().find(|(_, one)| one.disks.iter().any(|r| r == role))
    else {
        return Err(refused(
            format!("no pool of host.toml has a disk `{role}`"),
            "write the role into `[disks]` and into the pool's `disks`, rebuild, and run again",
        ));
    };
    if !pool.mounted {
        return Err(refused(
            format!("the pool `{name}` is not mounted"),
            format!("run `bedplate-host pool open {name}`"),
        ));
    }
    let situation = Situation { host, facts, pool, request, name, intent };
    if let Some(refusal) = situation.lacks_another() {
        return Err(refusal);
    }
    match request.task {
        MemberTask::Remove => situation.remove(),
        MemberTask::Replace | MemberTask::Add => situation.join(),
    }
}

fn refused(message: String, help: impl Into<String>) -> PlanError {
    PlanError::new(vec![Refusal::machine(message, help)])
}

struct Situation<'a> {
    host: &'a HostFile,
    facts: &'a Facts,
    pool: &'a PoolFacts,
    request: &'a MemberRequest<'a>,
    name: &'a PoolName,
    intent: &'a Pool,
}

impl Situation<'_> {
    /// What is moved off a disk, or brought to two copies, would get its second one on a disk that is
    /// not there.
    fn lacks_another(&self) -> Option<PlanError> {
        let MemberRequest { task, role, .. } = *self.request;
        let may_leave = |dropped: &str| task != MemberTask::Add && dropped == role;
        let other = self.pool.dropped.iter().find(|dropped| !may_leave(dropped))?;
        Some(refused(
            format!("`{other}` dropped out while the pool `{}` was mounted", self.name),
            format!(
                "see to its cable and power, then restart the machine, which brings it up to date; when it is \
                 dead, `bedplate-host pool replace {other}` comes first"
            ),
        ))
    }

    fn remove(&self) -> Result<MemberPlan, PlanError> {
        let role = self.request.role;
        let device = match self.own_device() {
            Some(mapper) => Leaving::Mapper(mapper),
            None => self
                .own_missing()?
                .map(Leaving::Missing)
                .ok_or_else(|| refused(self.not_in_pool(), "take it out of host.toml"))?,
        };
        let stay = self.pool.devices.len() - usize::from(matches!(device, Leaving::Mapper(_)));
        if stay < LEAST_DEVICES {
            return Err(refused(
                format!("{stay} disk would be left, and RAID1 needs {LEAST_DEVICES}"),
                format!("add another one first, or use `bedplate-host pool replace {role}`"),
            ));
        }
        let mut steps = vec![MemberStep::Leave { device }];
        // What is left was written without one of two copies when too few disks were there.
        steps.extend(self.pool.mixed.then_some(MemberStep::Convert));
        // From now on the disk that left is of an epoch that is no member.
        steps.push(MemberStep::Record { epoch: self.pool.epoch + 1 });
        Ok(self.plan(None, Vec::new(), steps))
    }

    fn join(&self) -> Result<MemberPlan, PlanError> {
        let (role, epoch) = (self.request.role, self.pool.next_epoch);
        let mapper = member_mapper(role, epoch);
        let uuid = derive(self.host.host.id, Purpose::Luks, role, epoch);
        let joined = self.pool.devices.contains(mapper.as_str());
        if self.request.task == MemberTask::Add
            && self.own_device().is_some_and(|own| own != mapper)
        {
            return Err(refused(
                format!("`{role}` is in the pool `{}` already", self.name),
                format!("`bedplate-host pool replace {role}` gives it another disk"),
            ));
        }
        if self.request.task == MemberTask::Add && !self.pool.missing.is_empty() && !joined {
            let lost = self.lost_role().unwrap_or(role);
            return Err(refused(
                format!("the pool `{}` lacks a disk", self.name),
                format!("`bedplate-host pool replace {lost}` puts a new one in its place"),
            ));
        }
        let leaving = match self.request.task {
            MemberTask::Replace => self.leaving(&mapper)?,
            MemberTask::Add | MemberTask::Remove => None,
        };
        if self.request.task == MemberTask::Replace && leaving.is_none() && !joined {
            let help = match self.lost_role() {
                Some(lost) => format!("`bedplate-host pool replace {lost}` comes first"),
                None => format!("`bedplate-host pool add {role}` adds a disk"),
            };
            return Err(refused(self.not_in_pool(), help));
        }
        let (disk, destroys, mut steps): (_, _, Vec<_>) = if joined {
            (None, Vec::new(), Vec::new())
        } else {
            let (target, destroys, partitions) = self.disk()?;
            let luks = partitions.last().map_or(1, |partition| partition.number);
            let guid = derive(self.host.host.id, Purpose::GptDisk, role, epoch);
            let esp = self.part().esp().map(|partition| MemberStep::FormatEsp {
                partition,
                volume_id: esp_volume_id(self.esp(epoch)),
            });
            let rest = [
                MemberStep::FormatLuks {
                    partition: luks,
                    uuid,
                    label: mapper.to_string(),
                    mapper: mapper.clone(),
                },
                MemberStep::Record { epoch },
                MemberStep::Join { mapper },
            ];
            let first = MemberStep::Partition { guid, partitions };
            (Some(target), destroys, std::iter::once(first).chain(esp).chain(rest).collect())
        };
        let replaces = self.request.task == MemberTask::Replace;
        // Quick, and the machine boots from this disk too from then on.
        steps.extend(self.part().esp().map(|_| MemberStep::MirrorEsp { guid: self.esp(epoch) }));
        steps.extend(leaving.map(|device| MemberStep::Leave { device }));
        steps.extend((replaces || self.pool.mixed).then_some(MemberStep::Convert));
        steps.push(MemberStep::SaveHeader { uuid });
        steps.push(MemberStep::Seal { uuid });
        Ok(self.plan(disk, destroys, steps))
    }

    /// What the role's disk is for.
    fn part(&self) -> Part {
        match self.host.os.esp_mirror.as_deref() {
            Some(mirror) if mirror == self.request.role => Part::MirrorMember,
            _ => Part::Member,
        }
    }

    /// The GUID of the copy of the ESP on the role's disk of this epoch: never that of the disk
    /// before it, which may come back.
    fn esp(&self, epoch: u32) -> Uuid {
        derive(self.host.host.id, Purpose::GptEsp, self.request.role, epoch)
    }

    /// The device of the role that is in the file system.
    fn own_device(&self) -> Option<MapperName> {
        let epochs = [self.pool.next_epoch, self.pool.epoch];
        let mut names = epochs.iter().map(|epoch| member_mapper(self.request.role, *epoch));
        names.find(|name| self.pool.devices.contains(name.as_str()))
    }

    fn leaving(&self, new: &MapperName) -> Result<Option<Leaving>, PlanError> {
        let before = (0..self.pool.next_epoch).map(|epoch| member_mapper(self.request.role, epoch));
        let open = before
            .filter(|name| name != new)
            .find(|name| self.pool.devices.contains(name.as_str()));
        match open {
            Some(mapper) => Ok(Some(Leaving::Mapper(mapper))),
            None => Ok(self.own_missing()?.map(Leaving::Missing)),
        }
    }

    /// The disk, what is destroyed on it, and its partitions.
    fn disk(&self) -> Result<(DiskTarget, Vec<Destroyed>, Vec<Partition>), PlanError> {
        let role = self.request.role;
        let Some(intended) = self.host.disks.get(role) else {
            let message = format!("host.toml has no section `[disks.{role}]`");
            return Err(refused(message, "write it"));
        };
        let disk = self.wanted(intended);
        let named = |facts: &&DiskFacts| facts.has_id(&disk.id);
        let found: Vec<&DiskFacts> = self.facts.disks.iter().filter(named).collect();
        let [facts] = found.as_slice() else {
            let message = if found.is_empty() {
                "there is no such disk"
            } else {
                "two disks answer to this id"
            };
            let help = "give the name of the new disk: `--disk NAME`, as under /dev/disk/by-id";
            return Err(PlanError::new(vec![Refusal::disk(role, &disk.id, message.into(), help)]));
        };
        let choice = Choice { role, disk: &disk, facts, part: self.part() };
        let resume = self.resumes(facts);
        let mut refusals = Vec::new();
        fitness::disks(&[choice], self.host, self.facts, &mut refusals);
        refusals.extend(recognised(&choice, self.facts));
        refusals.extend(self.taken(&choice));
        let mut destroys = Vec::new();
        let content = content::lines(facts);
        // What no header says anything of any more is told, though it is our own work.
        let torn = resume && facts.bedplate.is_none() && content::holds_volume(facts);
        if (!resume || torn) && !content.is_empty() {
            if self.request.wipe || torn {
                destroys.push(Destroyed { role: role.to_owned(), id: disk.id.clone(), content });
            } else {
                refusals.push(choice.refuse(
                    format!("the disk is not blank: {}", content.join("; ")),
                    "save what is on it; `--wipe` destroys it",
                ));
            }
        }
        if !refusals.is_empty() {
            return Err(PlanError::new(refusals));
        }
        let partitions = geometry::member(self.host, &choice, self.pool.next_epoch);
        let target = DiskTarget {
            role: role.to_owned(),
            id: disk.id.clone(),
            serial: facts.serial.clone(),
            wwn: facts.wwn.clone(),
            size: facts.size,
            sector_size: facts.sector_size,
            diskseq: facts.diskseq,
            resume,
            sealed: false,
            discard: disk.media == bedplate_model::host::Media::Ssd,
        };
        Ok((target, destroys, partitions))
    }

    /// What host.toml says of the role's disk holds for the disk it names, not for another.
    fn wanted(&self, intended: &Disk) -> Disk {
        let id = self.request.id.unwrap_or(&intended.id);
        let same = *id == intended.id;
        Disk {
            id: id.clone(),
            expect_serial: intended.expect_serial.clone().filter(|_| same),
            expect_size: intended.expect_size.filter(|_| same),
            media: intended.media,
            wipe: if self.request.wipe { Wipe::Any } else { Wipe::Ours },
        }
    }

    fn plan(
        &self,
        disk: Option<DiskTarget>,
        destroys: Vec<Destroyed>,
        steps: Vec<MemberStep>,
    ) -> MemberPlan {
        let MemberRequest { task, role, .. } = *self.request;
        let mut hasher = Sha256::new();
        let identity = disk.as_ref().map(|disk| (&disk.id, &disk.serial, &disk.wwn, disk.size));
        let text = format!(
            "{}/{}/{role}/{}/{identity:?}",
            self.host.host.id, self.name, self.pool.next_epoch
        );
        hasher.update(text);
        let hash = PlanHash::of(hasher.finalize().into());
        let warnings = self.warnings(disk.as_ref());
        MemberPlan {
            hash,
            task,
            pool: self.name.to_owned(),
            mount: self.intent.mount.clone(),
            role: role.to_owned(),
            destroys,
            disk,
            steps,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests;
