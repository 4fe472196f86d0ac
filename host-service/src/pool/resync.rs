//! Bringing a member up to date that was away: mounted without it, and then written anew in its own
//! place from those that have everything.
//!
//! Mounting it with the others and scrubbing would be quicker, and is not right: what has no checksums
//! is taken from either copy, and so is what is read before the scrub has come by (docs/pools.md). Each
//! state is marked before it is begun, so that a power cut leaves one that goes on or begins again.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_disks::pool_fs::{Away, Live, PoolFileSystem, Progress, ResyncError, Told};
use bedplate_luks as luks;
use bedplate_model::host::HostFile;
use bedplate_planner::pool_history::{Mark, resynchronising};
use bedplate_tools::block::Block;
use bedplate_tools::command::LOOK as LOOK_AT_OTHERS;
use uuid::Uuid;

use super::error::{PoolError, file};
use super::history;
use super::key::Keys;
use super::member::{Member, Members, mapped};
use super::mounting::put_out_of_sight;
use super::record::Record;
use bedplate_events::cause::in_line;

/// How often it is looked how far the kernel is.
const LOOK: Duration = Duration::from_secs(5);
/// When the kernel has not come further in this time, something hangs.
const STANDS_STILL: Duration = Duration::from_secs(3600);

/// One member that is not part of the mounted pool, and is to be again.
pub(super) struct Resync<'a> {
    pub host: &'a HostFile,
    pub name: &'a str,
    pub mount: &'a Path,
    pub file_system: &'static dyn PoolFileSystem,
    pub id: Uuid,
    pub blocks: &'a [Block],
    pub members: &'a Members,
    pub member: &'a Member,
    pub live: &'a Live,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It has everything.
    UpToDate {
        /// Places that none of the others could read; what it held there before was left.
        unreadable: u64,
    },
    /// No key opens it.
    Locked,
    /// It is no member that is missing: nothing was done.
    NotWanted,
}

impl Resync<'_> {
    /// Whether the kernel is at it, or has just come to its end.
    pub fn is_under_way(&self, record: &Record) -> bool {
        let is_target = record.mark.as_ref().and_then(|mark| mark.target.as_ref());
        let inside = self.live.devices.contains(self.member.mapper.as_str());
        self.live.targets.contains(self.member.mapper.as_str())
            || inside && is_target == Some(&self.member.luks_uuid)
    }

    /// Begins it, or goes on with it, and returns when it has everything. Other pools are looked after
    /// `meanwhile`.
    pub fn run(&self, record: &mut Record, meanwhile: &mut dyn FnMut()) -> Result<Came, PoolError> {
        if self.is_under_way(record)
            && let Some(unreadable) = self.follow(meanwhile)?
        {
            self.finish(record)?;
            return Ok(Came::UpToDate { unreadable });
        }
        if !self.unlock()? {
            return Ok(Came::Locked);
        }
        let Some(number) = self.number()? else { return Ok(Came::NotWanted) };
        let node = mapped(&self.member.mapper);
        put_out_of_sight(self.file_system, self.member)?;
        self.begin(record)?;
        let away = Away { number, member: &node, mount: self.mount };
        self.file_system.resynchronise(&away, meanwhile).map_err(|error| {
            let room = match &error {
                ResyncError::NoRoom(_) => {
                    "; the pool has no room for one more chunk: delete something"
                }
                ResyncError::Failed(_) => "",
            };
            self.failed(format!("{}{room}", in_line(&error)))
        })?;
        let end = self.file_system.progress(self.mount)?;
        let says = || self.failed(format!("{} says {end:?}", self.file_system.words().name));
        let unreadable = self.ended(end)?.ok_or_else(says)?;
        self.finish(record)?;
        Ok(Came::UpToDate { unreadable })
    }

    /// How many places could not be read, when it came to its end. A disk that did not take everything
    /// is not up to date, whatever the kernel makes of it.
    fn ended(&self, progress: Progress) -> Result<Option<u64>, PoolError> {
        match progress {
            Progress::Finished { unreadable, unwritten: 0 } => Ok(Some(unreadable)),
            Progress::Finished { unwritten, .. } => Err(self.failed(format!(
                "it did not take {unwritten} writes, and is failing: `bedplate-host pool replace {}` \
                 gives the role another disk",
                self.member.role
            ))),
            Progress::None | Progress::Running(_) | Progress::Suspended => Ok(None),
        }
    }

    /// Waits for what the kernel took up again when the pool was mounted. None when it gave up.
    fn follow(&self, meanwhile: &mut dyn FnMut()) -> Result<Option<u64>, PoolError> {
        let (mut last, mut since) = (Progress::None, Instant::now());
        let mut looked = Instant::now();
        loop {
            let now = self.file_system.progress(self.mount)?;
            match now {
                Progress::Finished { .. } => return self.ended(now),
                Progress::None => return Ok(None),
                Progress::Suspended => {
                    self.file_system.give_up(self.mount)?;
                    return Ok(None);
                }
                Progress::Running(_) => {}
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > STANDS_STILL {
                return Err(self.failed("the kernel has not come further for an hour".into()));
            }
            if looked.elapsed() > LOOK_AT_OTHERS {
                meanwhile();
                looked = Instant::now();
            }
            sleep(LOOK);
        }
    }

    /// Unlocks it so that nobody looks at what stands in it before it is out of sight: what is mounted
    /// would take it in as it is.
    fn unlock(&self) -> Result<bool, PoolError> {
        let Member { node, mapper, discard, .. } = self.member;
        if luks::is_open(mapper) {
            // Of a disk that dropped out and is back under another name it leads nowhere, and nobody
            // uses it.
            if self.file_system.told(&mapped(mapper)).is_ok() {
                return Ok(true);
            }
            luks::close(mapper).map_err(|error| {
                let why = in_line(&error);
                self.failed(format!("its mapping is of a disk that is gone, and stays open ({why}): restart the machine"))
            })?;
        }
        let (unseen, unseen_node) = history::unseen(self.member);
        let mut keys = Keys::new(&self.host.unlock)?;
        for key in keys.with(self.blocks) {
            let secret = key.secret.expose();
            if !luks::open_unseen(node, &unseen, Some(key.slot), secret)? {
                continue;
            }
            let hidden = self.file_system.hide(&unseen_node);
            luks::close(&unseen)?;
            hidden.map_err(file("put out of sight", &unseen_node))?;
            luks::open(node, mapper, Some(key.slot), secret, *discard)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The number of the missing device that it was, or was to be.
    fn number(&self) -> Result<Option<u64>, PoolError> {
        let missing = self.file_system.missing(self.mount)?;
        let [number] = missing.as_slice() else { return Ok(None) };
        let node = mapped(&self.member.mapper);
        let told = self.file_system.told(&node).map_err(file("read", &node))?;
        let fits =
            |told: &Told| told.pool == self.id && told.number.is_none_or(|own| own == *number);
        // One that was half written and given up says nothing any more: its header says it.
        let was_joining = || history::read(self.member).is_some_and(|mark| mark.joining.is_some());
        Ok(told.map_or_else(was_joining, |told| fits(&told)).then_some(*number))
    }

    /// Marks that it is being written to, on those that have everything, and then on itself.
    fn begin(&self, record: &mut Record) -> Result<(), PoolError> {
        let head = self.head(record)?;
        let uuid = &self.member.luks_uuid;
        let era = resynchronising(&head, uuid, &history::fresh(self.host)?);
        self.mark(record, &era, &self.holders(&era))?;
        let before = history::try_read(self.member)?;
        let own = match before.clone() {
            Some(own) => own,
            None => history::fresh(self.host)?.after([], [uuid.clone()].into(), None),
        };
        let own = Mark { joining: Some(era.id().to_owned()), target: None, ..own };
        if before.as_ref() == Some(&own) {
            return Ok(());
        }
        Ok(history::write(&self.member.node, &own)?)
    }

    /// Marks that it has everything, too.
    fn finish(&self, record: &mut Record) -> Result<(), PoolError> {
        let head = self.head(record)?;
        let mut members = head.members.clone();
        members.insert(self.member.luks_uuid.clone());
        let era = history::fresh(self.host)?.after([head.line.as_slice()], members, None);
        record.away.remove(&self.member.role);
        record.stale.remove(&self.member.role);
        self.mark(record, &era, &self.holders(&era))
    }

    fn head(&self, record: &Record) -> Result<Mark, PoolError> {
        let none = || self.failed("the record does not say who has the newest history".into());
        record.mark.clone().filter(Mark::is_sound).ok_or_else(none)
    }

    fn holders(&self, era: &Mark) -> Vec<&Member> {
        let found = self.members.found.values();
        found.filter(|member| era.members.contains(&member.luks_uuid)).collect()
    }

    fn mark(&self, record: &mut Record, era: &Mark, on: &[&Member]) -> Result<(), PoolError> {
        let marked = history::keep(self.name, record, era, on, false);
        if let Some(why) = marked.record {
            return Err(self.failed(format!("the record could not be kept: {why}")));
        }
        match marked.failed.into_iter().next() {
            None => Ok(()),
            Some((role, why)) => Err(PoolError::Mark { pool: self.name.to_owned(), role, why }),
        }
    }

    fn failed(&self, why: String) -> PoolError {
        PoolError::Resync { pool: self.name.to_owned(), role: self.member.role.clone(), why }
    }
}
