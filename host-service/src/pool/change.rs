//! Carrying out a change of a pool: one step after the other, each of which finds what a run
//! before it has done.

use bedplate_disks::pool_fs::{Live, PoolFileSystem, Which};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use bedplate_disks::{Claim, Identity, Lent, Table};
use bedplate_events::Outcome;
use bedplate_keystick as keystick;
use bedplate_luks::{
    self as luks, Format, KEYFILE_SLOT, LuksError, PASSPHRASE_SLOT, Standing, Token,
};
use bedplate_model::host::{HostFile, Recovery};
use bedplate_model::identity::{Purpose, epoch_of, member_mapper, shown_volume_id};
use bedplate_model::plan::{DiskTarget, Partition};
use bedplate_planner::{Leaving, MemberPlan, MemberStep};
use bedplate_tools::block::{self, Block};
use bedplate_tools::mount::Access;
use bedplate_tools::secret::Secret;
use bedplate_tools::udev;
use uuid::Uuid;

mod error;

pub use self::error::ChangeError;
pub(super) use self::error::command;
use super::error::{PoolError, file};
use super::facts;
use super::history;
use super::member::{Members, headers, mapped};
use super::record::Record;
use super::tend;
use crate::esp_mirror;
use bedplate_events::cause::in_line;
use bedplate_model::name::MapperName;

/// Where the key stick is mounted while it is read or written.
const STICK: &str = "/run/bedplate/pool-stick";
/// Label of a copy of the ESP.
const MIRROR_LABEL: &str = "ESP-MIRROR";

/// The keys that every disk of this machine opens with.
struct Keys {
    keyfile: Secret,
    passphrase: Secret,
    /// A member that is in the pool: what a key costs is taken from it.
    model: PathBuf,
}

/// Carries out a plan.
pub struct Change<'a> {
    host: &'a HostFile,
    plan: &'a MemberPlan,
    keys: Option<Keys>,
    disk: String,
}

impl<'a> Change<'a> {
    /// Finds the keys when the plan makes a volume; nothing is written yet.
    pub fn begin(host: &'a HostFile, plan: &'a MemberPlan) -> Result<Self, ChangeError> {
        let makes = plan.steps.iter().any(|step| matches!(step, MemberStep::FormatLuks { .. }));
        let keys = makes.then(|| keys(host, plan)).transpose()?;
        let id = plan.disk.as_ref().map_or("", |disk| disk.id.as_str());
        Ok(Self { host, plan, keys, disk: format!("{} ({id})", plan.role) })
    }

    /// Carries out one step. What a warning says is no failure.
    pub fn perform(
        &self,
        step: &MemberStep,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome, ChangeError> {
        let mount = Path::new(&self.plan.mount);
        match step {
            MemberStep::Partition { guid, partitions } => self.partition(*guid, partitions),
            MemberStep::FormatEsp { partition, volume_id } => {
                self.format_esp(*partition, *volume_id)
            }
            MemberStep::MirrorEsp { .. } => {
                // The pool matters more: the disk stays whole without it.
                if let Err(why) = self.refresh_mirror() {
                    warn(format!("the machine boots from its first disk only: {why}"));
                }
                Ok(Outcome::Done)
            }
            MemberStep::FormatLuks { partition, uuid, label, mapper } => {
                self.format(*partition, *uuid, label, mapper)
            }
            MemberStep::Record { epoch } => self.record(*epoch),
            MemberStep::Join { mapper } => {
                // Before its first write: a power cut must not leave one that nobody knows.
                self.mark(true)?;
                self.file_system()
                    .join(&mapped(mapper), mount)
                    .map_err(command("the new disk could not be added to the pool"))?;
                self.expect_taken()
            }
            MemberStep::Leave { device } => self.leave(device, warn),
            MemberStep::Convert => {
                self.file_system()
                    .spread(mount, &mut || self.look_after_others(warn))
                    .map_err(command("not everything could be brought to two copies"))?;
                self.expect_taken()
            }
            MemberStep::SaveHeader { uuid } => {
                if let Err(error) = self.save_header(*uuid) {
                    warn(format!("no copy of the header is on the key stick: {}", in_line(&error)));
                }
                Ok(Outcome::Done)
            }
            MemberStep::Seal { uuid } => {
                self.luks(luks::seal(&self.volume(*uuid)?.path()))?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Mounts the copy of the ESP from the new disk and brings it into step; why not, otherwise.
    fn refresh_mirror(&self) -> Result<(), String> {
        let Some(role) = &self.host.os.esp_mirror else { return Ok(()) };
        let epoch = super::epoch(self.host, role).map_err(|error| in_line(&error))?;
        esp_mirror::refresh(self.host, role, epoch).map_err(|error| in_line(&error))
    }

    fn file_system(&self) -> &'static dyn PoolFileSystem {
        super::file_system(self.host, &self.plan.pool)
    }

    fn target(&self) -> Result<&DiskTarget, ChangeError> {
        self.plan.disk.as_ref().ok_or_else(|| ChangeError::NoDisk(self.plan.role.clone()))
    }

    fn partition(&self, guid: Uuid, partitions: &[Partition]) -> Result<Outcome, ChangeError> {
        let target = self.target()?;
        let table = Table::new(target, guid, partitions);
        let failed = |action| {
            let disk = self.disk.clone();
            move |source| ChangeError::Disk { disk, action, source }
        };
        let identity = self.identity(target);
        let mut seen = Claim::disk_to_read(&identity)?;
        if target.resume && table.is_on(seen.file()) {
            return Ok(Outcome::AlreadyDone);
        }
        drop(seen);
        let written = Claim::disk(&identity)?.write_table(&table);
        let disk = written.map_err(failed("write the partition table"))?;
        // udev saw the disk closed after writing: it takes the partitions away, and brings them
        // back, at a time of its own.
        udev::settle().map_err(command("udev did not come to rest"))?;
        File::open(&disk)
            .and_then(|disk| udev::reread_partitions(&disk))
            .map_err(failed("make the kernel take the new partition table"))?;
        udev::settle().map_err(command("udev did not come to rest"))?;
        Ok(Outcome::Done)
    }

    /// The file system of the copy of the ESP, unless a run before this made it.
    fn format_esp(&self, partition: u32, volume_id: u32) -> Result<Outcome, ChangeError> {
        let target = self.target()?;
        let id = shown_volume_id(volume_id);
        let mut claim = Claim::partition(&self.identity(target), partition)?;
        if target.resume
            && keystick::read_volume(claim.file(), &[], 0).is_ok_and(|found| found.volume_id == id)
        {
            return Ok(Outcome::AlreadyDone);
        }
        claim.make_esp(volume_id, MIRROR_LABEL, target.sector_size)?;
        Ok(Outcome::Done)
    }

    /// The disk of the plan.
    fn identity(&self, target: &DiskTarget) -> Identity {
        Identity { owner_name: self.disk.clone(), ..Identity::from(target) }
    }

    fn format(
        &self,
        partition: u32,
        uuid: Uuid,
        label: &str,
        mapper: &str,
    ) -> Result<Outcome, ChangeError> {
        let (target, Some(keys)) = (self.target()?, &self.keys) else {
            return Err(ChangeError::NoStick);
        };
        let lent = Lent::partition(&self.identity(target), partition)?;
        let device = lent.path();
        let token = Token::unsealed(&self.plan.hash, &BTreeMap::new());
        let standing = self.luks(luks::standing(&device, uuid, &token.plan))?;
        let begun = match &standing {
            Standing::Free => None,
            Standing::Begun(made) if !made.sealed => Some(made),
            Standing::Begun(_) | Standing::Other => {
                return Err(ChangeError::Volume { disk: self.disk.clone() });
            }
        };
        let ours = target.resume
            && begun.is_some_and(|made| *made == token)
            && self.untested(&device, keys)?.is_none();
        if !ours {
            self.luks(luks::format(&Format {
                device: &device,
                uuid,
                label,
                keyfile: keys.keyfile.expose(),
                passphrase: keys.passphrase.expose(),
                argon: self.luks(luks::argon_cost(&keys.model, PASSPHRASE_SLOT))?,
                token: &token,
            }))?;
            if let Some(what) = self.untested(&device, keys)? {
                return Err(ChangeError::KeyLost { what, role: self.plan.role.clone() });
            }
        }
        let opened =
            luks::open(&device, mapper, Some(KEYFILE_SLOT), keys.keyfile.expose(), target.discard);
        self.luks(opened)?;
        udev::settle().map_err(command("udev did not come to rest"))?;
        Ok(if ours { Outcome::AlreadyDone } else { Outcome::Done })
    }

    /// The first key that does not open its slot.
    fn untested(&self, device: &Path, keys: &Keys) -> Result<Option<&'static str>, ChangeError> {
        for (slot, key, what) in slots(keys) {
            if !self.luks(luks::test_key(device, Some(slot), key.expose()))? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    fn record(&self, epoch: u32) -> Result<Outcome, ChangeError> {
        let pool = &self.plan.pool;
        let mut record = Record::read(pool)?;
        if !record.raise(&self.plan.role, epoch) {
            return Ok(Outcome::AlreadyDone);
        }
        record.write(pool)?;
        Ok(Outcome::Done)
    }

    /// Marks who is written to from now on; `joins` when the role's new disk is about to be.
    fn mark(&self, joins: bool) -> Result<(), ChangeError> {
        let (host, name) = (self.host, self.plan.pool.as_str());
        let unknown = || PoolError::Unknown { name: name.to_owned() };
        let pool = host.pools.get(name).ok_or_else(unknown)?;
        let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
        let members = Members::find(host, pool, &Record::read(name)?, &headers(&blocks))?;
        let live = self.live()?;
        let new = joins.then(|| members.found.get(&self.plan.role)).flatten();
        Ok(history::settle(host, name, &live, &members, new)?)
    }

    /// Nobody else may look after pools while this works on one, for hours.
    fn look_after_others(&self, warn: &mut dyn FnMut(String)) {
        tend::others(self.host, &self.plan.pool, warn);
    }

    fn live(&self) -> Result<Live, PoolError> {
        let pool = &self.plan.pool;
        let live = self.file_system().live(super::id(self.host, pool))?;
        live.ok_or_else(|| PoolError::NotMounted { pool: pool.to_string() })
    }

    /// The number of what lies behind a mapping of the role: of a disk that dropped out the kernel cannot read
    /// whose its node is.
    fn number(&self, mapper: &str) -> Result<Option<u64>, PoolError> {
        let record = Record::read(&self.plan.pool)?;
        Ok(facts::number(self.host, &record, &self.live()?, &self.plan.role, mapper))
    }

    fn leave(
        &self,
        device: &Leaving,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome, ChangeError> {
        let mount = Path::new(&self.plan.mount);
        let (number, node) = match device {
            Leaving::Missing(number) => (Some(*number), PathBuf::new()),
            Leaving::Mapper(mapper) => (self.number(mapper)?, mapped(mapper)),
        };
        let member = number.map_or(Which::Node(&node), Which::Number);
        self.file_system()
            .leave(member, mount, &mut || self.look_after_others(warn))
            .map_err(command("the old disk could not be taken out of the pool"))?;
        self.expect_taken()?;
        self.mark(false)?;
        if let Leaving::Mapper(mapper) = device {
            self.luks(luks::close(mapper))?;
        }
        Ok(Outcome::Done)
    }

    /// Name under `/dev/mapper` of the volume that this change brings into the pool.
    fn joining(&self) -> Option<MapperName> {
        let (host, role) = (self.host.host.id, &self.plan.role);
        self.plan.steps.iter().find_map(|step| match step {
            MemberStep::FormatLuks { mapper, .. } | MemberStep::Join { mapper } => {
                Some(mapper.clone())
            }
            // What a run before this one joined.
            MemberStep::Seal { uuid } => {
                let epoch = epoch_of(host, Purpose::Luks, role, &uuid.to_string())?;
                Some(member_mapper(role, epoch))
            }
            _ => None,
        })
    }

    fn luks<T>(&self, done: Result<T, LuksError>) -> Result<T, ChangeError> {
        done.map_err(|source| {
            let source = Box::new(source);
            ChangeError::Luks { disk: self.disk.clone(), source }
        })
    }

    /// The kernel goes on without a word when the new disk does not take what is written, and reads from it what
    /// has no checksums. The mark of such a disk still says that it joins, so that no boot takes it for
    /// a whole member.
    fn expect_taken(&self) -> Result<Outcome, ChangeError> {
        let Some(mapper) = self.joining() else { return Ok(Outcome::Done) };
        let node = mapped(&mapper);
        let health = self.file_system().health(Path::new(&self.plan.mount));
        let health = health.map_err(command("the errors of the new disk could not be counted"))?;
        match health.unwritten.get(&node).copied() {
            None | Some(0) => Ok(Outcome::Done),
            Some(count) => Err(ChangeError::NotTaken { disk: self.disk.clone(), count }),
        }
    }

    /// What the open volume of the role lies on, whose header has this UUID.
    fn volume(&self, uuid: Uuid) -> Result<Lent, ChangeError> {
        let none = || ChangeError::NoHeader(uuid);
        let role = &self.plan.role;
        let epoch = epoch_of(self.host.host.id, Purpose::Luks, role, &uuid.to_string());
        let volume = Lent::beneath(&member_mapper(role, epoch.ok_or_else(none)?))?;
        let (found, _) = self.luks(luks::read_token(&volume.path()))?.ok_or_else(none)?;
        if found == uuid { Ok(volume) } else { Err(none()) }
    }

    fn save_header(&self, uuid: Uuid) -> Result<(), ChangeError> {
        let volume = self.volume(uuid)?;
        let scratch = Path::new("/run/bedplate");
        let directory =
            tempfile::tempdir_in(scratch).map_err(file("make a directory in", scratch))?;
        let copy = directory.path().join("header");
        self.luks(luks::backup_sealed(&volume.path(), &copy))?;
        let header = std::fs::read(&copy).map_err(file("read", &copy))?;
        let packed = zstd::encode_all(header.as_slice(), 3).map_err(file("pack", &copy))?;
        let path = keystick::layout::header(&self.plan.role);
        for stick in sticks(self.host)? {
            let stick = keystick::Mounted::mount(&stick.node, Path::new(STICK), Access::ReadWrite)?;
            keystick::write(stick.path(), &path, &packed)?;
        }
        Ok(())
    }
}

fn slots(keys: &Keys) -> [(u32, &Secret, &'static str); 2] {
    [
        (KEYFILE_SLOT, &keys.keyfile, "keyfile"),
        (PASSPHRASE_SLOT, &keys.passphrase, "recovery passphrase"),
    ]
}

/// The keys on the stick, tried on a disk that is in the pool: the new one must open with what
/// opens the others.
fn keys(host: &HostFile, plan: &MemberPlan) -> Result<Keys, ChangeError> {
    let Recovery::Stick(recovery) = &host.unlock.recovery else {
        return Err(ChangeError::NoPassphrase);
    };
    let sticks = sticks(host)?;
    let stick = sticks.first().ok_or(ChangeError::NoStick)?;
    let read = |path: &str| {
        keystick::read_from(stick, Path::new(STICK), path, keystick::layout::SECRET_LIMIT)
    };
    let (keyfile, passphrase) = (read(&host.unlock.keyfile)?, read(recovery)?);
    let (role, model) = facts::model(host, &plan.pool, &plan.role)?;
    let keys = Keys { keyfile, passphrase, model };
    for (slot, key, what) in slots(&keys) {
        if !luks::test_key(&keys.model, Some(slot), key.expose()).map_err(PoolError::Luks)? {
            return Err(ChangeError::WrongKey { what, role });
        }
    }
    Ok(keys)
}

/// The sticks that are plugged in; at least one.
fn sticks(host: &HostFile) -> Result<Vec<Block>, ChangeError> {
    let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
    let ids = || host.unlock.sticks.iter().map(|stick| stick.volume_id.as_str());
    let sticks: Vec<Block> =
        blocks.into_iter().filter(|block| keystick::is_stick(block, ids())).collect();
    if sticks.is_empty() { Err(ChangeError::NoStick) } else { Ok(sticks) }
}
