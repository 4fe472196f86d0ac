//! One kind of resource, looked at and compared, whatever its types are.

use std::fs::File;

use bedplate_engine::{Announced, Reporter, StepFailure, StepReporter, in_turn};
use bedplate_events::StepSummary;
use bedplate_events::cause::in_line;

use crate::context::Context;
use crate::kind::{Description, Kind, Resource};
use crate::status::Status;

/// Looks at all resources of a kind.
pub fn prepare<K: Kind + 'static>(kind: K, context: &Context) -> Box<dyn Prepared> {
    Box::new(Compared::new(kind, context))
}

/// Makes all that was looked at as intended, and tells. True when everything is. `alone` keeps others from
/// changing things, and is let go before what may take hours.
pub fn perform_all(
    title: String,
    kinds: &[Box<dyn Prepared>],
    context: &Context,
    alone: File,
    reporter: &Reporter<'_>,
) -> bool {
    let mut alone = Some(alone);
    let steps = kinds.iter().flat_map(|kind| kind.steps()).collect();
    Announced { title, steps, ..Announced::default() }.carry_out(reporter, || {
        let mut success = true;
        for kind in kinds {
            alone = alone.take().filter(|_| !kind.is_slow());
            success &= kind.perform(context, reporter);
        }
        success
    })
}

/// A kind that was looked at, whatever its types.
pub trait Prepared {
    /// What it would do, step by step.
    fn steps(&self) -> Vec<StepSummary>;
    /// How each resource stands.
    fn status(&self) -> Vec<Status>;
    /// Whether doing it may take hours.
    fn is_slow(&self) -> bool;
    /// Does it, and tells; true when everything is as intended afterwards.
    fn perform(&self, context: &Context, reporter: &Reporter<'_>) -> bool;
}

struct Compared<K: Kind> {
    kind: K,
    resources: Result<Vec<Described<K::Action>>, K::Error>,
}

/// A resource, with its description where it has one.
type Described<A> = (Resource<A>, Option<Description>);

impl<K: Kind> Compared<K> {
    fn new(kind: K, context: &Context) -> Self {
        let intent = &context.intent;
        let resources = kind.observe(context).map(|observed| {
            let describe = |resource: Resource<K::Action>| {
                let description = K::describe(intent, &observed, &resource.name);
                (resource, description)
            };
            K::diff(intent, &observed).into_iter().map(describe).collect()
        });
        Self { kind, resources }
    }

    fn resources(&self) -> impl Iterator<Item = &Resource<K::Action>> {
        self.resources.iter().flatten().map(|(resource, _)| resource)
    }
}

impl<K: Kind> Prepared for Compared<K> {
    fn steps(&self) -> Vec<StepSummary> {
        let numbered = |resource: &Resource<K::Action>| -> Vec<StepSummary> {
            let steps = resource.actions.iter().enumerate();
            steps
                .map(|(index, action)| StepSummary {
                    id: step_id::<K>(&resource.name, index),
                    title: action.to_string(),
                })
                .collect()
        };
        self.resources().flat_map(numbered).collect()
    }

    fn status(&self) -> Vec<Status> {
        match &self.resources {
            Ok(resources) => resources
                .iter()
                .map(|(resource, description)| status_of::<K>(resource, description.as_ref()))
                .collect(),
            Err(error) => vec![Status::unseen(K::NAME, None, in_line(error))],
        }
    }

    fn is_slow(&self) -> bool {
        K::SLOW
    }

    fn perform(&self, context: &Context, reporter: &Reporter<'_>) -> bool {
        if let Err(error) = &self.resources {
            reporter.fail(Some(K::NAME), error, K::ADVICE);
            return false;
        }
        let mut success = true;
        for resource in self.resources() {
            success &= perform_resource(&self.kind, resource, context, reporter);
        }
        success
    }
}

/// A failure ends this resource; the others go on.
fn perform_resource<K: Kind>(
    kind: &K,
    resource: &Resource<K::Action>,
    context: &Context,
    reporter: &Reporter<'_>,
) -> bool {
    let name = format!("{} {}", K::NAME, resource.name);
    for note in resource.notes.iter().chain(&resource.wants) {
        reporter.warn(Some(&name), note.clone());
    }
    // What there is to do although it is refused, goes first: a machine that must not be defined anew is
    // started as it is.
    let numbered = resource.actions.iter().enumerate();
    let actions = numbered.map(|(index, action)| (step_id::<K>(&resource.name, index), action));
    let mut perform =
        |action: &K::Action, of_step: &StepReporter<'_>| kind.perform(context, action, of_step);
    if !in_turn(actions, reporter, K::ADVICE, &mut perform) {
        return false;
    }
    if let Some(why) = &resource.refused {
        reporter.fail(Some(&name), &Refused(why.clone()), K::ADVICE);
        return false;
    }
    true
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl StepFailure for Refused {}

fn step_id<K: Kind>(name: &str, index: usize) -> String {
    format!("{}-{name}-{}", K::NAME, index + 1)
}

fn status_of<K: Kind>(resource: &Resource<K::Action>, description: Option<&Description>) -> Status {
    Status {
        kind: K::NAME,
        name: Some(resource.name.clone()),
        agrees: resource.actions.is_empty()
            && resource.refused.is_none()
            && resource.wants.is_empty(),
        intent: description.map(|description| description.intent.clone()),
        reality: description.map(|description| description.reality.clone()),
        actions: resource.actions.iter().map(ToString::to_string).collect(),
        refused: resource.refused.clone(),
        notes: resource.notes.clone(),
        wants: resource.wants.clone(),
    }
}

#[cfg(test)]
mod tests;
