//! `pool replace`, `add`, `remove` and `scrub`: the plan first, then, when it was asked for, the work.

use std::error::Error;
use std::path::Path;

use bedplate_luks as luks;
use bedplate_spec::event::{EventKind, Outcome};
use bedplate_spec::host::HostFile;
use bedplate_spec::identity::member_mapper;
use bedplate_spec::planner::{MemberPlan, MemberRequest, plan_member};
use bedplate_tools::btrfs;

use super::change::{Change, ChangeError};
use super::error::PoolError;
use super::facts;
use super::record::Record;
use super::status::is_mounted;
use crate::report::Reporter;

/// What is to be done about a failure of any step.
const NEXT: &str = "mend the cause and run the same command again: it goes on where it stopped";

/// What a change would do. A volume that an interrupted run left open without adding it to the
/// pool is locked again first: it is no use of the disk.
pub fn plan(host: &HostFile, request: &MemberRequest<'_>) -> Result<MemberPlan, ChangeError> {
    let pool = facts::pool(host, request.role)?;
    let left = member_mapper(request.role, pool.next_epoch);
    if luks::is_open(&left) && !pool.devices.contains(&left) {
        luks::close(&left)?;
    }
    plan_member(host, &facts::machine(), &pool, request).map_err(ChangeError::Refused)
}

/// Tells the plan.
pub fn announce(plan: &MemberPlan, reporter: &mut Reporter<'_>) {
    reporter.tell(EventKind::PlanStarted {
        title: plan.title(),
        plan: Some(plan.hash.clone()),
        steps: plan.summaries(),
        destroys: plan.destroyed_lines(),
    });
}

/// Carries the plan out. True when everything went well.
pub fn perform(host: &HostFile, plan: &MemberPlan, reporter: &mut Reporter<'_>) -> bool {
    let success = steps(host, plan, reporter);
    let milliseconds = reporter.milliseconds();
    reporter.tell(EventKind::PlanDone { success, milliseconds });
    success
}

fn steps(host: &HostFile, plan: &MemberPlan, reporter: &mut Reporter<'_>) -> bool {
    let change = match Change::begin(host, plan) {
        Ok(change) => change,
        Err(error) => {
            reporter.fail(None, &error, "nothing was changed; mend the cause and run it again");
            return false;
        }
    };
    for step in &plan.steps {
        let id = step.id().to_owned();
        reporter.start_step(&id);
        let begun = reporter.milliseconds();
        let mut warnings = Vec::new();
        let result = change.perform(step, &mut |warning| warnings.push(warning));
        for warning in warnings {
            reporter.warn(Some(id.clone()), warning);
        }
        match result {
            Ok(outcome) => done(reporter, id, outcome, begun),
            Err(error) => {
                reporter.fail(Some(id), &error, NEXT);
                return false;
            }
        }
    }
    true
}

fn done(reporter: &mut Reporter<'_>, step: String, outcome: Outcome, begun: u64) {
    let milliseconds = reporter.milliseconds().saturating_sub(begun);
    reporter.tell(EventKind::StepDone { step, outcome, milliseconds });
}

/// Reads everything in a pool and repairs what one copy has wrong; returns btrfs's summary.
pub fn scrub(host: &HostFile, name: &str) -> Result<String, Box<dyn Error>> {
    let pool = host.pools.get(name).ok_or_else(|| PoolError::Unknown { name: name.to_owned() })?;
    if !is_mounted(&pool.mount)? {
        let message = format!("the pool `{name}` is not mounted: `bedplate-host pool open {name}`");
        return Err(message.into());
    }
    let summary = btrfs::scrub(Path::new(&pool.mount))?;
    let mut record = Record::read(name)?;
    record.stale.clear();
    record.write(name)?;
    Ok(summary)
}
