//! `pool replace`, `add`, `remove` and `scrub`: the plan first, then, when it was asked for, the work.

use std::error::Error;
use std::path::Path;

use bedplate_disks::pool_fs::Scrubbed;
use bedplate_engine::{Announced, Reporter, in_turn};
use bedplate_events::EventKind;
use bedplate_luks as luks;
use bedplate_model::host::HostFile;
use bedplate_model::identity::member_mapper;
use bedplate_model::name::Role;
use bedplate_planner::{MemberPlan, MemberRequest, PoolFacts, plan_member};
use bedplate_tools::systemctl;

use super::change::{Change, ChangeError};
use super::condition::Scrubbing;
use super::error::PoolError;
use super::facts;
use super::record::Record;
use super::status::{Health, status_of};
use crate::etc::MIRROR_UNIT;

/// What is to be done about a failure of any step.
const NEXT: &str = "mend the cause and run the same command again: it goes on where it stopped";

/// What a change would do. A volume that an interrupted run left open without adding it to the
/// pool is locked again first, and its copy of the ESP unmounted: that is no use of the disk.
pub fn plan(host: &HostFile, request: &MemberRequest<'_>) -> Result<MemberPlan, ChangeError> {
    let pool = facts::pool(host, request.role)?;
    let left = member_mapper(request.role, pool.next_epoch);
    if luks::is_open(&left) && !pool.devices.contains(left.as_str()) {
        luks::close(&left).map_err(PoolError::Luks)?;
    }
    if may_hold_mirror(host, &pool, request.role) {
        let action = "the copy of the ESP could not be unmounted";
        systemctl::stop(MIRROR_UNIT).map_err(|source| ChangeError::Command { action, source })?;
    }
    plan_member(host, &facts::machine(), &pool, request).map_err(ChangeError::Refused)
}

/// Whether the copy of the ESP is mounted from a disk of which an interrupted run made everything but a
/// member: at every boot the copy follows the epoch that is on record.
fn may_hold_mirror(host: &HostFile, pool: &PoolFacts, role: &Role) -> bool {
    let is_unfinished = pool.next_epoch == pool.epoch;
    let is_in = pool.devices.contains(member_mapper(role, pool.next_epoch).as_str());
    host.os.esp_mirror.as_deref() == Some(role) && is_unfinished && !is_in
}

/// Tells the plan.
pub fn announce(plan: &MemberPlan, reporter: &Reporter<'_>) {
    let announced = Announced {
        title: plan.title(),
        plan: Some(plan.hash.to_string()),
        steps: plan.summaries(),
        destroys: plan.destroyed_lines(),
    };
    announced.tell(reporter);
    for warning in &plan.warnings {
        reporter.warn(None, warning.clone());
    }
}

/// Carries the plan out. True when everything went well.
pub fn perform(host: &HostFile, plan: &MemberPlan, reporter: &Reporter<'_>) -> bool {
    let success = steps(host, plan, reporter);
    let milliseconds = reporter.milliseconds();
    reporter.emit(EventKind::PlanDone { success, milliseconds });
    success
}

fn steps(host: &HostFile, plan: &MemberPlan, reporter: &Reporter<'_>) -> bool {
    let change = match Change::begin(host, plan) {
        Ok(change) => change,
        Err(error) => {
            reporter.fail(None, &error, "nothing was changed; mend the cause and run it again");
            return false;
        }
    };
    let numbered = plan.steps.iter().map(|step| (step.id().to_owned(), step));
    in_turn(numbered, reporter, NEXT, &mut |step, of_step| {
        change.perform(step, &mut |warning| of_step.warn(warning))
    })
}

/// Reads everything in a pool and repairs what one copy has wrong; returns what the file system says of it.
pub fn scrub(host: &HostFile, name: &str) -> Result<String, Box<dyn Error>> {
    let found = status_of(host, name)?;
    let pool = || name.to_owned();
    if found.health == Health::Down {
        return Err(PoolError::NotMounted { pool: pool() }.into());
    }
    // A scrub gives up at a missing device, and calls that a success.
    if found.missing_devices > 0 {
        return Err(PoolError::NotWhole { pool: pool() }.into());
    }
    let file_system = super::file_system(host, name);
    let scrubbing = Scrubbing::begin(file_system, Path::new(&found.mount))?;
    let Scrubbed { finished, summary } = file_system.scrub(Path::new(&found.mount))?;
    if !finished {
        return Err(PoolError::CutOff { pool: pool(), summary }.into());
    }
    let mut record = Record::read(name)?;
    record.stale.clear();
    record.write(name)?;
    scrubbing.finish(file_system, name, Path::new(&found.mount))?;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn f10_a_replacement_that_was_cut_off_is_not_in_the_way_of_its_own_next_run() {
        let mut host = sample::intent();
        host.os.esp_mirror = "vm2".parse().ok();
        let [vm1, vm2]: [Role; 2] = ["vm1", "vm2"].map(|role| role.parse().unwrap());
        let new = member_mapper(&vm2, 1).into();
        let cut = || PoolFacts { epoch: 1, next_epoch: 1, ..PoolFacts::default() };
        assert!(may_hold_mirror(&host, &cut(), &vm2));
        // Another role's disk, one that is in the pool, and one that still works and is to be replaced.
        assert!(!may_hold_mirror(&host, &cut(), &vm1));
        assert!(!may_hold_mirror(&host, &PoolFacts { devices: [new].into(), ..cut() }, &vm2));
        assert!(!may_hold_mirror(&host, &PoolFacts { next_epoch: 2, ..cut() }, &vm2));
    }
}
