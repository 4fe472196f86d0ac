//! Executes a plan. Nothing is decided here: the match over steps is exhaustive and each
//! step does what it says.

use std::time::Instant;

use bedplate_events::{EventKind, Outcome, Unit};
use bedplate_model::facts::Facts;
use bedplate_model::identity::mapper_name;
use bedplate_model::plan::{DiskTarget, Plan, Step};

use crate::context::Context;
use crate::device;
use crate::error::StepError;
use crate::failure;
use crate::ledger::roles_written;
use crate::meter::Meter;
use crate::parallel::{Unfinished, movers, try_each, try_each_in_turn};
use crate::steps::system_image::Source;
use crate::steps::{boot, btrfs, closure, disks, flake, kept, luks, stick, system};

/// Executes the steps in order, side by side where they may be. The first failure is reported, and
/// nothing follows it.
pub fn execute(context: &mut Context<'_>, facts: &Facts) -> bool {
    let plan = context.plan;
    let mut rest = plan.steps.as_slice();
    while let Some(first) = rest.first() {
        let (now, later) = rest.split_at_checked(beside(rest)).unwrap_or((rest, &[]));
        let well = match now {
            [alone] => run_one(context, facts, alone),
            several => run_beside(context, facts, several),
        };
        if !well || !disks_are_well(context, now.last().unwrap_or(first)) {
            return false;
        }
        rest = later;
    }
    true
}

/// How many of the first steps may run side by side, each once those before it on the same disks
/// are done: tables and what stands beside a volume, then volumes and what stands on them. Between
/// the two it is measured, on a machine at rest, what a volume may cost.
fn beside(steps: &[Step]) -> usize {
    let lays_out = |step: &Step| matches!(step, Step::Partition { .. } | Step::FormatEsp { .. });
    let fills = |step: &Step| matches!(step, Step::FormatLuks { .. } | Step::MakeBtrfs { .. });
    let first = |may: fn(&Step) -> bool| steps.iter().take_while(|step| may(step)).count();
    first(lays_out).max(first(fills)).max(steps.len().min(1))
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

/// Volumes are made side by side as memory allows, everything else as there are processors.
fn run_beside(context: &mut Context<'_>, facts: &Facts, steps: &[Step]) -> bool {
    if let Some(first) = steps.iter().find(|step| makes_volume(step))
        && let Err(error) = luks::measure(context)
    {
        return end(context, first, Instant::now(), Err(error));
    }
    let volumes = context.argon.map_or(1, luks::permits);
    let shared = &*context;
    let may_begin = |step: &Step, unfinished: &Unfinished<'_, Step>| {
        let volumes_begun = unfinished.begun.iter().filter(|begun| makes_volume(begun)).count();
        (!makes_volume(step) || volumes_begun < volumes)
            && unfinished.before.iter().all(|before| are_apart(shared.plan, before, step))
    };
    let all = try_each_in_turn(steps, movers(), &may_begin, &|step: &Step| {
        let started = begin(shared, step);
        let result = perform_shared(shared, facts, step);
        end(shared, step, started, result).then_some(()).ok_or(())
    });
    all.is_ok()
}

fn makes_volume(step: &Step) -> bool {
    matches!(step, Step::FormatLuks { .. })
}

/// Whether two steps write to different disks.
fn are_apart(plan: &Plan, one: &Step, other: &Step) -> bool {
    !roles_written(plan, one).any(|role| roles_written(plan, other).any(|of| of == role))
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

/// A step that runs alone: it may leave something for the steps after it.
fn perform(context: &mut Context<'_>, facts: &Facts, step: &Step) -> Result<Outcome, StepError> {
    match step {
        Step::PrepareStick { sticks, keyfile, recovery, secrets, typed, existing } => {
            let existing = *existing;
            let wanted = stick::Wanted { sticks, keyfile, recovery, secrets, typed, existing };
            stick::prepare(context, &step.id(), &wanted)
        }
        Step::BuildSystem { attribute, inputs } => {
            system::build(context, &step.id(), attribute, *inputs)
        }
        Step::FindSystem => system::find(context),
        Step::FormatLuks { .. } => {
            luks::measure(context)?;
            perform_shared(context, facts, step)
        }
        _ => perform_shared(context, facts, step),
    }
}

/// A step that may run beside others.
fn perform_shared(context: &Context<'_>, facts: &Facts, step: &Step) -> Result<Outcome, StepError> {
    match step {
        Step::PrepareStick { .. } | Step::BuildSystem { .. } | Step::FindSystem => {
            Err(StepError::new(format!("the step {} runs alone", step.id())))
        }
        Step::CheckDisks { roles } => {
            for role in roles {
                device::check(context.disk(role)?)?;
            }
            Ok(Outcome::Done)
        }
        Step::KeepPool { name, fsid, members } => kept::open(context, name, *fsid, members),
        Step::OpenSystem { role, partition, uuid, mapper } => {
            kept::open_system(context, role, *partition, *uuid, mapper)
        }
        Step::FetchRepository { branch, from } => flake::fetch::fetch(context, branch, from),
        Step::Partition { role, guid, partitions } => {
            disks::partition(context.disk(role)?, *guid, partitions)
        }
        Step::FormatEsp { role, partition, label, volume_id } => {
            disks::format_esp(context.disk(role)?, *partition, label, *volume_id)
        }
        Step::FormatLuks { .. } => luks::format(context, step),
        Step::MakeBtrfs { name: _, label, fsid, raid1, members, subvolumes } => {
            let sealed = hold_sealed(&context.plan.disks, members);
            let origin = btrfs::Origin::Empty { raid1: *raid1 };
            btrfs::Make { label, fsid: *fsid, origin, members, subvolumes, sealed }.run()
        }
        Step::WriteSystem { image, label, fsid, member, subvolumes, bytes } => {
            let members = std::slice::from_ref(member);
            let sealed = hold_sealed(&context.plan.disks, members);
            let id = step.id();
            let meter = Meter::new(context.reporter, &id, *bytes);
            let source = Source::open(*image)?;
            let origin = btrfs::Origin::Medium(source, meter);
            btrfs::Make { label, fsid: *fsid, origin, members, subvolumes, sealed }.run()
        }
        Step::Mount { mounts } => btrfs::mount_all(context, mounts),
        Step::CopyClosure => closure::copy(context, &step.id()),
        Step::Enrol { hosts, remote, push } => {
            let target = flake::Target { hosts, remote: remote.as_deref(), push: push.as_ref() };
            flake::enrol(context, facts, &step.id(), &target)
        }
        Step::Activate => system::activate(context),
        Step::VerifyKeys { roles } => verify_keys(context, &step.id(), roles),
        Step::Seal { roles } => {
            // A seal says that all before it is on the disks: a repair does none of it again.
            rustix::fs::sync();
            try_each(roles, movers(), &|role: &String| luks::seal(context, role))?;
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
    try_each(roles, permits, &|role: &String| {
        luks::verify(context, role)?;
        let now = done.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        context.reporter.progress(id, now, total, Unit::Items);
        Ok(())
    })?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::{plan, step};

    #[test]
    fn tables_run_side_by_side_and_volumes_with_what_stands_on_them_but_not_the_two() {
        let plan = plan();
        let from = |id: &str| {
            let begin = plan.steps.iter().position(|step| step.id() == id).unwrap();
            let ids: Vec<String> = plan.steps[begin..].iter().map(Step::id).collect();
            let (now, later) = ids.split_at(beside(&plan.steps[begin..]));
            (now.len(), now.last().cloned().unwrap(), later.first().cloned().unwrap())
        };
        assert_eq!(from("partition-os"), (8, "partition-vm3".to_owned(), "luks-bulk1".to_owned()));
        assert_eq!(from("luks-bulk1"), (10, "btrfs-os".to_owned(), "mount".to_owned()));
        assert_eq!(from("verify-keys"), (1, "verify-keys".to_owned(), "seal".to_owned()));
        assert_eq!(beside(&[]), 0);
    }

    #[test]
    fn a_step_waits_for_those_on_its_own_disks_only() {
        let plan = plan();
        let apart = |one, other| are_apart(&plan, step(&plan, one), step(&plan, other));
        assert!(!apart("luks-vm3", "btrfs-vmstore"));
        assert!(!apart("partition-os", "esp-os"));
        assert!(apart("luks-os", "btrfs-vmstore"));
        assert!(apart("luks-vm1", "luks-vm2"));
    }

    fn disk(role: &str, sealed: bool) -> DiskTarget {
        DiskTarget {
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
        }
    }

    #[test]
    fn f1_one_sealed_member_makes_the_whole_file_system_a_sealed_one() {
        let disks = [disk("os", false), disk("vm1", false), disk("vm2", true)];
        let mappers =
            |roles: &[&str]| roles.iter().map(|role| mapper_name(role)).collect::<Vec<_>>();
        assert!(hold_sealed(&disks, &mappers(&["vm1", "vm2"])));
        assert!(!hold_sealed(&disks, &mappers(&["os"])));
    }
}
