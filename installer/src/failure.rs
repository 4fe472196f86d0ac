//! Failures as events: step, disk as its owner knows it, its state, why, and what to do next.

use bedplate_engine::failed;
use bedplate_events::{DeviceState, EventKind};
use bedplate_model::plan::{DiskTarget, Step};

use crate::advice;
use crate::context::Context;
use crate::device::owner_name;
use crate::error::{RUN_AGAIN, StepError};
use crate::health::Trouble;

/// A failure while nothing was planned yet, or after everything was done.
pub fn outside_the_plan(error: &StepError) -> EventKind {
    failed(None, error, RUN_AGAIN)
}

/// A step that failed.
pub fn of_step(context: &Context<'_>, step: &Step, error: StepError) -> EventKind {
    tell(context, step, Some(step), error)
}

/// A failure noticed when `last` had ended well.
pub fn between_steps(context: &Context<'_>, last: &Step, error: StepError) -> EventKind {
    tell(context, last, None, error)
}

/// The failure of the first disk that vanished or reports errors.
pub fn of_a_disk(context: &Context<'_>) -> Option<StepError> {
    let (role, trouble) = context.health.look().into_iter().next()?;
    let what = match trouble {
        Trouble::Gone => "a disk of the plan is no longer there",
        Trouble::Errors(_) => "a disk of the plan reports errors",
    };
    Some(StepError { device: Some(name(context, &role)), ..StepError::new(what) })
}

fn name(context: &Context<'_>, role: &str) -> String {
    context.disk(role).map_or_else(|_| role.to_owned(), owner_name)
}

/// `running` is the step that was cut short, if one was.
fn tell(
    context: &Context<'_>,
    named: &Step,
    running: Option<&Step>,
    error: StepError,
) -> EventKind {
    let troubles = context.health.look();
    let told = |disk: &&DiskTarget| error.device.as_ref() == Some(&owner_name(disk));
    let culprit = match context.plan.disks.iter().find(told) {
        Some(disk) => Some(disk.role.clone()),
        None if error.device.is_none() => troubles.keys().next().cloned(),
        None => None,
    };
    let full = advice::is_full(&error);
    let trouble = culprit.as_ref().and_then(|role| troubles.get(role));
    let (device, state) = match &culprit {
        Some(role) => {
            let state = context.ledger.state(context.plan, running, role, error.state);
            (Some(name(context, role)), Some(state))
        }
        None if error.device.is_some() => (error.device.clone(), error.state),
        None => of_several(context, running),
    };
    let mut causes = error.causes();
    causes.extend(match trouble {
        Some(Trouble::Gone) => Some("the kernel no longer has this disk".to_owned()),
        Some(Trouble::Errors(line)) => Some(format!("the kernel says: {line}")),
        None => None,
    });
    let next = match error.next {
        Some(next) if !context.ledger.is_committed() => next,
        _ => advice::after(context.host, &context.ledger, trouble, full),
    };
    EventKind::Failed {
        step: Some(named.id()),
        device,
        state,
        message: error.what.clone(),
        causes,
        next,
    }
}

/// No single disk is to blame: all that the step was writing to.
fn of_several(context: &Context<'_>, step: Option<&Step>) -> (Option<String>, Option<DeviceState>) {
    let roles = step.map(|step| context.plan.roles_written(step));
    let roles = roles.unwrap_or_default();
    let names: Vec<String> = roles.iter().map(|role| name(context, role)).collect();
    if names.is_empty() {
        return (None, None);
    }
    (Some(names.join(", ")), Some(DeviceState::Partial))
}
