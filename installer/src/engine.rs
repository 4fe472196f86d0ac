//! What each step of a plan does. Nothing is decided here: the match over steps is exhaustive and each
//! step does what it says; what comes after what stands in the plan ([`Plan::after`]).

use bedplate_disks::pool_fs;
use bedplate_engine::parallel::{movers, try_each};
use bedplate_engine::{StepReporter, Task, Works, side_by_side};
use bedplate_events::{EventKind, Outcome, Unit};
use bedplate_model::facts::Facts;
use bedplate_model::identity::mapper_name;
use bedplate_model::name::{MapperName, Role};
use bedplate_model::plan::{DiskTarget, Plan, Step};

use crate::context::Context;
use crate::device;
use crate::error::StepError;
use crate::failure;
use crate::meter::Meter;
use crate::steps::file_systems::{self, Make};
use crate::steps::system_image::Source;
use crate::steps::{boot, closure, disks, flake, kept, luks, stick, system};

/// Executes the steps, side by side where they may be. The first failure is reported, and nothing
/// follows it.
pub fn execute(context: &Context<'_>, facts: &Facts) -> bool {
    let tasks: Vec<Task<'_, Step>> = tasks(context.plan).collect();
    side_by_side(&tasks, &Installation { context, facts }, context.reporter, movers())
}

fn tasks(plan: &Plan) -> impl Iterator<Item = Task<'_, Step>> {
    let steps = plan.steps.iter().zip(plan.after());
    steps.map(|(step, after)| Task { id: step.id(), after, step })
}

struct Installation<'a> {
    context: &'a Context<'a>,
    facts: &'a Facts,
}

impl Works<Step> for Installation<'_> {
    type Error = StepError;

    fn begins(&self, step: &Step) {
        self.context.ledger.begin(self.context.plan, step);
    }

    fn perform(&self, step: &Step) -> Result<Outcome, StepError> {
        let done = perform(self.context, self.facts, step)?;
        self.context.ledger.complete(self.context.plan, step);
        Ok(done)
    }

    /// btrfs hides the loss of one member of a pool: nothing is built further on a disk that vanished
    /// or reports errors.
    fn ended(&self, step: &Step) -> Option<EventKind> {
        let error = failure::of_a_disk(self.context)?;
        let is_over = self.context.ledger.is_committed();
        (!is_over).then(|| failure::between_steps(self.context, step, error))
    }

    fn failure(&self, step: &Step, error: StepError) -> EventKind {
        failure::of_step(self.context, step, error)
    }

    /// Volumes are made side by side as memory allows, everything else as there are processors.
    fn has_room(&self, step: &Step, begun: &[&Step]) -> bool {
        if !makes_volume(step) {
            return true;
        }
        // What a volume may cost is measured before the first, while nothing else runs.
        let permits = match self.context.argon.get() {
            None if begun.is_empty() => luks::measure(self.context).map_or(1, luks::permits),
            known => known.copied().map_or(1, luks::permits),
        };
        begun.iter().filter(|begun| makes_volume(begun)).count() < permits
    }
}

fn makes_volume(step: &Step) -> bool {
    matches!(step, Step::FormatLuks { .. })
}

fn perform(context: &Context<'_>, facts: &Facts, step: &Step) -> Result<Outcome, StepError> {
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
        Step::CheckDisks { roles } => {
            for role in roles {
                device::check(context.disk(role)?)?;
            }
            Ok(Outcome::Done)
        }
        Step::KeepPool { name, file_system, fsid, members } => {
            let pool = kept::Pool { name, file_system: pool_fs::of(*file_system), id: *fsid };
            kept::open(context, &pool, members)
        }
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
        Step::MakeFileSystem { name: _, file_system, label, fsid, raid1, members, subvolumes } => {
            let sealed = hold_sealed(&context.plan.disks, members);
            let origin = file_systems::Origin::Empty { raid1: *raid1 };
            let (file_system, id) = (pool_fs::of(*file_system), *fsid);
            Make { file_system, label, id, origin, members, subvolumes, sealed }.run()
        }
        Step::WriteSystem { image, label, fsid, member, subvolumes, bytes } => {
            let members = std::slice::from_ref(member);
            let sealed = hold_sealed(&context.plan.disks, members);
            let id = step.id();
            let meter = Meter::new(context.reporter, &id, *bytes);
            let source = Source::open(*image)?;
            let origin = file_systems::Origin::Medium(source, meter);
            let (file_system, id) = (file_systems::system(), *fsid);
            Make { file_system, label, id, origin, members, subvolumes, sealed }.run()
        }
        Step::Mount { mounts } => file_systems::mount_all(context, mounts),
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
            try_each(roles, movers(), &|role: &Role| luks::seal(context, role))?;
            Ok(Outcome::Done)
        }
        Step::WriteBootEntry { esp, mirror } => boot::write_entry(context, esp, mirror.as_ref()),
        Step::Finish => boot::finish(context),
    }
}

/// Whether a sealed volume is among these mappings.
fn hold_sealed(disks: &[DiskTarget], mappers: &[MapperName]) -> bool {
    disks.iter().any(|disk| disk.sealed && mappers.contains(&mapper_name(&disk.role)))
}

fn verify_keys(context: &Context<'_>, id: &str, roles: &[Role]) -> Result<Outcome, StepError> {
    let permits = luks::permits(luks::measure(context)?);
    let total = u64::try_from(roles.len()).ok();
    let done = std::sync::atomic::AtomicU64::new(0);
    try_each(roles, permits, &|role: &Role| {
        luks::verify(context, role)?;
        let now = done.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        StepReporter::new(context.reporter, id).progress(now, total, Unit::Items, None);
        Ok(())
    })?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::plan;

    #[test]
    fn what_a_volume_costs_is_measured_before_the_first_and_says_how_many_there_are_at_once() {
        let plan = plan();
        let luks: Vec<Task<'_, Step>> = tasks(&plan).filter(|one| makes_volume(one.step)).collect();
        assert_eq!(luks.len(), 7);
        // Nothing runs when the first may begin: all tables are laid out.
        let laid_out = |task: &Task<'_, Step>| {
            let steps = task.after.iter().filter_map(|number| plan.steps.get(*number));
            steps.filter(|step| matches!(step, Step::Partition { .. })).count()
        };
        assert!(
            luks.iter().all(|task| laid_out(task) == 7),
            "{:?}",
            luks.first().map(|t| &t.after)
        );
    }

    fn disk(role: &str, sealed: bool) -> DiskTarget {
        DiskTarget {
            role: role.parse().unwrap(),
            id: format!("nvme-{role}").parse().unwrap(),
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
        let mappers = |roles: &[&str]| {
            roles.iter().map(|role| mapper_name(&role.parse().unwrap())).collect::<Vec<_>>()
        };
        assert!(hold_sealed(&disks, &mappers(&["vm1", "vm2"])));
        assert!(!hold_sealed(&disks, &mappers(&["os"])));
    }
}
