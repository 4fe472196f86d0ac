//! Looks, plans and does: copies of machines.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_engine::{Announced, Reporter, StepFailure, StepReporter, in_turn};
use bedplate_events::{Outcome, StepSummary};
use bedplate_tools::command::CommandError;

use super::place;
use super::plan::{self, KnownGuest, LabFacts, Planner, Refusal, Source, Step};
use super::record::{self, Lab};
use crate::backup::record as backup_record;
use crate::backup::record::RecordError;
use crate::backup::session::{file_system, wanted};
use crate::backup::source::{self, Which};
use bedplate_disks::pool_fs::{self, PoolFileSystem};
use bedplate_guests::copies::Copies;
use bedplate_guests::{GuestDriver, GuestError, of_kind};
use bedplate_model::host::{Guest, HostFile};
use bedplate_resources::context::Context;
use bedplate_tools::atomic::WriteError;

const ADVICE: &str = "production is untouched; `bedplate-host lab destroy` removes what was begun";

/// What can go wrong with the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is one.
    #[error(
        "there is a lab already: `bedplate-host lab reset` makes its copies anew, `lab destroy` removes it"
    )]
    Exists,
    /// There is none.
    #[error("there is no lab")]
    None,
    /// What runs the guests could not be asked or told.
    #[error("what runs the guests could not be asked or told")]
    Guests(#[source] GuestError),
    /// A subvolume could not be made or deleted.
    #[error("a command failed")]
    Command(#[from] CommandError),
    /// Records of backups.
    #[error("it could not be found out what snapshots there are")]
    Record(#[from] RecordError),
    /// A file.
    #[error("could not read, copy or remove {}", .path.display())]
    File {
        /// The disk, its copy, the record, or the directory that one of them is in.
        path: PathBuf,
        /// What the kernel said when it was read, made, copied or removed.
        #[source]
        source: io::Error,
    },
    /// A record that says nothing.
    #[error(
        "the record {} is damaged, which said what copies there are and on which bridge; turn the \
         copies off and undefine them (`virsh list --all` shows them as `lab-NAME`), then move the \
         record away",
        .path.display()
    )]
    Damaged {
        /// Path of the record of the lab, `lab.json`.
        path: PathBuf,
        /// Where the text stops being the record of a lab, and how.
        #[source]
        source: serde_json::Error,
    },
    /// The record.
    #[error("it could not be noted what the lab holds")]
    Write(#[from] WriteError),
    /// A step, which was told.
    #[error("the lab is not complete")]
    Incomplete,
}

impl StepFailure for LabError {}

/// Makes copies of `machines` on `bridge`.
pub fn clone(
    context: &Context,
    machines: &[String],
    bridge: &str,
    reporter: &Reporter<'_>,
) -> Result<(), LabError> {
    if record::read(&context.state)?.is_some() {
        return Err(LabError::Exists);
    }
    let lab = Lab { schema: 1, bridge: bridge.to_owned(), machines: machines.to_vec() };
    make(context, &lab, reporter)
}

/// Makes all copies anew, from what is the newest snapshot now.
pub fn reset(context: &Context, reporter: &Reporter<'_>) -> Result<(), LabError> {
    let lab = record::read(&context.state)?.ok_or(LabError::None)?;
    // Before anything goes: a lab that could not be made again stays.
    let mut facts = look_for_copies(context)?;
    facts.known.retain(|_, found| !found.known.ours);
    facts.labs.clear();
    planned(context, &lab, &facts)?;
    destroy(context, reporter)?;
    make(context, &lab, reporter)
}

/// Removes all copies with their disks.
pub fn destroy(context: &Context, reporter: &Reporter<'_>) -> Result<(), LabError> {
    let lab = record::read(&context.state)?.ok_or(LabError::None)?;
    let steps = plan::removals(&look(context)?, &lab.machines);
    perform("destroy the lab", &context.intent, &steps, reporter)?;
    record::remove(&context.state)
}

fn make(context: &Context, lab: &Lab, reporter: &Reporter<'_>) -> Result<(), LabError> {
    let steps = planned(context, lab, &look_for_copies(context)?)?;
    // First: what a power cut leaves is found and removed by it.
    record::write(&context.state, lab)?;
    perform("make the lab", &context.intent, &steps, reporter)
}

fn planned(context: &Context, lab: &Lab, facts: &LabFacts) -> Result<Vec<Step>, LabError> {
    let mut planners = Vec::new();
    for driver in bedplate_guests::drivers() {
        let (kind, section) = (driver.kind(), driver.section());
        let Some(copies) = driver.copies() else { continue };
        planners.push(Planner {
            kind,
            section,
            plan: copies.planner(context).map_err(LabError::Guests)?,
        });
    }
    Ok(plan::clones(&context.intent, facts, &lab.machines, &lab.bridge, &planners)?)
}

/// All guests that the machine knows, of the kinds that can be copied.
pub(super) fn known() -> Result<BTreeMap<String, KnownGuest>, LabError> {
    let mut all = BTreeMap::new();
    for driver in bedplate_guests::drivers() {
        let Some(copies) = driver.copies() else { continue };
        let known = copies.known().map_err(LabError::Guests)?.into_iter();
        all.extend(known.map(|(name, known)| (name, KnownGuest { kind: driver.kind(), known })));
    }
    Ok(all)
}

fn look(context: &Context) -> Result<LabFacts, LabError> {
    let mounts = context.intent.pools.keys().filter_map(|pool| context.pool_mount(pool).ok());
    let labs = mounts.map(PathBuf::from).filter(|mount| place(mount).exists()).collect();
    let (mounts, sources) = (context.mounts.clone(), BTreeMap::new());
    Ok(LabFacts { mounts, sources, known: known()?, labs })
}

/// As [`look`], with what copies are made of. Nothing of that keeps a lab from being destroyed.
fn look_for_copies(context: &Context) -> Result<LabFacts, LabError> {
    Ok(LabFacts { sources: sources(context)?, ..look(context)? })
}

/// The disk of each machine in the newest snapshot of a backup that ended well.
fn sources(context: &Context) -> Result<BTreeMap<String, Source>, LabError> {
    let mut found: BTreeMap<String, Source> = BTreeMap::new();
    for (name, backup) in &context.intent.backups {
        let record = backup_record::read(&context.state, name, &backup.repository)?;
        let Some(at) = record.local.and(record.last_success).map(|success| success.at) else {
            continue;
        };
        // A pool that is not mounted has no snapshots.
        let Ok(places) = wanted(context, backup) else { continue };
        let Ok(snapshots) = source::sources(name, &places, Which::Kept) else { continue };
        for (machine, disk) in disks(&context.intent) {
            let copy = snapshots.iter().find_map(|snapshot| {
                let inside = disk.strip_prefix(&snapshot.path).ok()?;
                Some(snapshot.content.join(inside)).filter(|copy| copy.is_file())
            });
            let is_newer = found.get(&machine).is_none_or(|known| known.at < at);
            if let Some(disk) = copy.filter(|_| is_newer) {
                found.insert(machine, Source { disk, at });
            }
        }
    }
    Ok(found)
}

/// The disks that copies begin with, by the names of their guests.
fn disks(host: &HostFile) -> Vec<(String, PathBuf)> {
    let drivers = bedplate_guests::drivers();
    let disk = |guest: Guest<'_>| {
        let driver = drivers.iter().find(|driver| driver.section() == guest.section)?;
        Some((guest.name.to_string(), driver.copies()?.disk(host, guest.name)?))
    };
    host.guests().filter_map(disk).collect()
}

fn perform(
    title: &str,
    host: &HostFile,
    steps: &[Step],
    reporter: &Reporter<'_>,
) -> Result<(), LabError> {
    let numbered =
        || steps.iter().enumerate().map(|(index, step)| (format!("lab-{}", index + 1), step));
    let summaries = numbered().map(|(id, step)| StepSummary { id, title: step.to_string() });
    let announced =
        Announced { title: title.to_owned(), steps: summaries.collect(), ..Announced::default() };
    let mut perform =
        |step: &Step, _: &StepReporter<'_>| perform_step(host, step).map(|()| Outcome::Done);
    let success =
        announced.carry_out(reporter, || in_turn(numbered(), reporter, ADVICE, &mut perform));
    if success { Ok(()) } else { Err(LabError::Incomplete) }
}

fn perform_step(host: &HostFile, step: &Step) -> Result<(), LabError> {
    let file_system = |place: &Path| pool_fs::of(file_system(host, place));
    match step {
        Step::MakeLab { place } => Ok(file_system(place).create_part(place)?),
        Step::CopyDisk { from, to } => copy(file_system(to), from, to),
        Step::Define { kind, definition, .. } => with(kind, |copies| copies.define(definition)),
        Step::Stop { kind, name } => with(kind, |copies| copies.stop(name)),
        Step::Undefine { kind, name } => with(kind, |copies| copies.remove(name)),
        Step::DeleteLab { place } => Ok(file_system(place).delete_part(place)?),
    }
}

fn with(kind: &str, work: impl Fn(&dyn Copies) -> Result<(), GuestError>) -> Result<(), LabError> {
    let driver = of_kind(kind);
    driver
        .as_deref()
        .and_then(GuestDriver::copies)
        .map_or(Ok(()), |copies| work(copies).map_err(LabError::Guests))
}

/// Shares the data of the snapshot: it takes no room until it is written to.
fn copy(file_system: &dyn PoolFileSystem, from: &Path, to: &Path) -> Result<(), LabError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LabError::File { path, source }
    };
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).map_err(failed(directory))?;
    }
    let source = File::open(from).map_err(failed(from))?;
    let target = File::create(to).map_err(failed(to))?;
    file_system.clone_file(&source, &target).map_err(failed(to))?;
    target.sync_all().map_err(failed(to))
}
