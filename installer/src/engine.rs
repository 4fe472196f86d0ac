//! Executes a plan. Nothing is decided here: the match over steps is exhaustive and each
//! step does what it says.

use std::time::Instant;

use bedplate_spec::event::{EventKind, Outcome, Unit};
use bedplate_spec::facts::Facts;
use bedplate_spec::identity::mapper_name;
use bedplate_spec::plan::{DiskTarget, Step};

use crate::context::Context;
use crate::device;
use crate::error::StepError;
use crate::failure;
use crate::steps::{boot, btrfs, closure, disks, flake, kept, luks, stick, system};

/// Executes every step in order. The first failure is reported, and nothing follows it.
pub fn execute(context: &mut Context<'_>, facts: &Facts) -> bool {
    let plan = context.plan;
    let mut rest = plan.steps.as_slice();
    while let Some(first) = rest.first() {
        let volumes =
            rest.iter().take_while(|step| matches!(step, Step::FormatLuks { .. })).count();
        let count = volumes.max(1);
        let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        let well =
            if volumes == 0 { run_one(context, facts, first) } else { run_volumes(context, now) };
        if !well || !disks_are_well(context, now.last().unwrap_or(first)) {
            return false;
        }
        rest = later;
    }
    true
}

/// btrfs hides the loss of one member of a pool: nothing is built further on a disk that vanished
/// or reports errors.
fn disks_are_well(context: &Context<'_>, step: &Step) -> bool {
    match failure::of_a_disk(context) {
        Some(error) if !context.ledger.is_committed() => {
            context.reporter.emit(failure::between_steps(context, step, error));
            false
        }
        _ => true,
    }
}

fn run_one(context: &mut Context<'_>, facts: &Facts, step: &Step) -> bool {
    let started = begin(context, step);
    let result = perform(context, facts, step);
    end(context, step, started, result)
}

/// Consecutive volumes are made side by side, as many as memory allows.
fn run_volumes(context: &mut Context<'_>, steps: &[Step]) -> bool {
    if let (Err(error), Some(first)) = (luks::measure(context), steps.first()) {
        return end(context, first, Instant::now(), Err(error));
    }
    let permits = context.argon.map_or(1, luks::permits);
    let shared = &*context;
    side_by_side(steps, permits, &|step: &Step| {
        let started = begin(shared, step);
        end(shared, step, started, luks::format(shared, step))
    })
}

/// Runs `work` on every item with so many threads; after a failure nothing new is begun.
fn side_by_side<T: Sync>(items: &[T], permits: usize, work: &(dyn Fn(&T) -> bool + Sync)) -> bool {
    let (sender, receiver) = crossbeam_channel::unbounded();
    for item in items {
        let _ = sender.send(item);
    }
    drop(sender);
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for _ in 0..permits {
            scope.spawn(|| {
                while !stopped.load(order)
                    && let Ok(item) = receiver.recv()
                {
                    if !work(item) {
                        stopped.store(true, order);
                    }
                }
            });
        }
    });
    !stopped.load(order)
}

fn begin(context: &Context<'_>, step: &Step) -> Instant {
    context.ledger.begin(context.plan, step);
    context.reporter.emit(EventKind::StepStarted { step: step.id() });
    Instant::now()
}

fn end(
    context: &Context<'_>,
    step: &Step,
    started: Instant,
    result: Result<Outcome, StepError>,
) -> bool {
    match result {
        Ok(outcome) => {
            context.ledger.complete(context.plan, step);
            let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            context.reporter.emit(EventKind::StepDone { step: step.id(), outcome, milliseconds });
            true
        }
        Err(error) => {
            context.reporter.emit(failure::of_step(context, step, error));
            false
        }
    }
}

fn perform(context: &mut Context<'_>, facts: &Facts, step: &Step) -> Result<Outcome, StepError> {
    match step {
        Step::CheckDisks { roles } => {
            for role in roles {
                device::check(context.disk(role)?)?;
            }
            Ok(Outcome::Done)
        }
        // The planner refuses what needs kept pools and mirrors.
        Step::PrepareStick { sticks, keyfile, recovery, secrets, existing } => {
            let existing = *existing;
            let wanted = stick::Wanted { sticks, keyfile, recovery, secrets, existing };
            stick::prepare(context, &step.id(), &wanted)
        }
        Step::KeepPool { name, fsid, members } => kept::open(context, name, *fsid, members),
        Step::Partition { role, guid, partitions } => {
            disks::partition(context.disk(role)?, *guid, partitions)
        }
        Step::FormatEsp { role, partition, label, volume_id } => {
            disks::format_esp(context.disk(role)?, *partition, label, *volume_id)
        }
        Step::FormatLuks { .. } => {
            luks::measure(context)?;
            luks::format(context, step)
        }
        Step::MakeBtrfs { name: _, label, fsid, raid1, members, subvolumes } => {
            let sealed = hold_sealed(&context.plan.disks, members);
            btrfs::Make { label, fsid: *fsid, raid1: *raid1, members, subvolumes, sealed }.run()
        }
        Step::Mount { mounts } => btrfs::mount_all(context, mounts),
        Step::CopyClosure => closure::copy(context, &step.id()),
        Step::Enrol { hosts, remote } => flake::enrol(context, facts, hosts, remote.as_deref()),
        Step::BuildSystem { attribute } => system::build(context, attribute),
        Step::Activate => system::activate(context),
        Step::VerifyKeys { roles } => verify_keys(context, &step.id(), roles),
        Step::Seal { roles } => {
            roles.iter().try_for_each(|role| luks::seal(context, role))?;
            Ok(Outcome::Done)
        }
        Step::WriteBootEntry { esp, mirror } => boot::write_entry(context, esp, mirror.as_ref()),
        Step::Finish => boot::finish(context),
    }
}

/// Whether a sealed volume is among these mappings.
fn hold_sealed(disks: &[DiskTarget], mappers: &[String]) -> bool {
    disks.iter().any(|disk| disk.sealed && mappers.contains(&mapper_name(&disk.role)))
}

fn verify_keys(context: &Context<'_>, id: &str, roles: &[String]) -> Result<Outcome, StepError> {
    let permits =
        luks::permits(context.argon.ok_or_else(|| StepError::new("Argon2 was not measured"))?);
    let total = u64::try_from(roles.len()).ok();
    let done = std::sync::atomic::AtomicU64::new(0);
    let failed = std::sync::Mutex::new(None);
    side_by_side(roles, permits, &|role: &String| match luks::verify(context, role) {
        Ok(()) => {
            let now = done.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            context.reporter.progress(id, now, total, Unit::Items);
            true
        }
        Err(error) => {
            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            false
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_one_sealed_member_makes_the_whole_file_system_a_sealed_one() {
        let disk = |role: &str, sealed| DiskTarget {
            role: role.into(),
            id: format!("nvme-{role}"),
            serial: None,
            wwn: None,
            size: 1 << 40,
            sector_size: 512,
            diskseq: None,
            resume: true,
            sealed,
            discard: true,
        };
        let disks = [disk("os", false), disk("vm1", false), disk("vm2", true)];
        let mappers =
            |roles: &[&str]| roles.iter().map(|role| mapper_name(role)).collect::<Vec<_>>();
        assert!(hold_sealed(&disks, &mappers(&["vm1", "vm2"])));
        assert!(!hold_sealed(&disks, &mappers(&["os"])));
    }
}
