//! Observe, compare, act: kind by kind, resource by resource.

use std::fs::File;

use serde::Serialize;

use bedplate_engine::{Announced, Reporter, StepReporter, in_turn};
use bedplate_events::StepSummary;

use crate::backup::Backups;
use crate::backup::leftover::Leftovers;
use crate::backup::room::Room;
use crate::bridge::Bridges;
use crate::chain::chain;
use crate::context::Context;
use crate::kind::{Description, Kind, Resource};
use crate::nfs::Exports;
use crate::restore::Restores;
use crate::secret::Secrets;
use crate::vm::VirtualMachines;

/// One resource compared with the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `pool`, `disk`, `esp`, `hand-off`, `secret`, `bridge`, `export`, `firewall`, `vm`, `lab`, `snapshot`, `backup`,
    /// `restore` or `notify`.
    pub kind: &'static str,
    /// Name in `host.toml`; none when the whole kind could not be looked at.
    pub name: Option<String>,
    /// Whether it is as intended.
    pub agrees: bool,
    /// What `host.toml` wants, in a line.
    pub intent: Option<String>,
    /// What was found, in a line.
    pub reality: Option<String>,
    /// What converge would do.
    pub actions: Vec<String>,
    /// Why converge would do nothing although it is not as intended.
    pub refused: Option<String>,
    /// What its owner should know.
    pub notes: Vec<String>,
    /// What a person has to see to, because converge cannot.
    pub wants: Vec<String>,
}

/// How far something is from the intent, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not at all.
    Agrees,
    /// Converge would change it.
    Differs,
    /// Converge does nothing about it: it is refused, could not be looked at, or wants a person.
    Stuck,
}

impl Standing {
    /// The exit code of `plan` and `status`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Agrees => 0,
            Self::Differs => 3,
            Self::Stuck => 4,
        }
    }
}

impl Status {
    /// Something that could not be looked at.
    pub fn unseen(kind: &'static str, name: Option<String>, why: String) -> Self {
        Self {
            kind,
            name,
            agrees: false,
            intent: None,
            reality: None,
            actions: Vec::new(),
            refused: Some(why),
            notes: Vec::new(),
            wants: Vec::new(),
        }
    }

    /// Whether something is to be done, or nothing may be. What a person has to see to is neither.
    pub fn is_undone(&self) -> bool {
        self.refused.is_some() || !self.actions.is_empty()
    }

    /// How far it is from the intent.
    pub fn standing(&self) -> Standing {
        match (self.agrees, &self.refused) {
            (true, _) => Standing::Agrees,
            (false, None) if !self.actions.is_empty() => Standing::Differs,
            (false, _) => Standing::Stuck,
        }
    }
}

/// Makes the machine agree with the intent. True when everything does. `alone` keeps others from
/// changing things, and is let go before what may take hours.
pub fn converge(context: &Context, alone: File, reporter: &Reporter<'_>) -> bool {
    perform_all(&prepare(context), context, alone, reporter)
}

fn perform_all(
    kinds: &[Box<dyn Prepared>],
    context: &Context,
    alone: File,
    reporter: &Reporter<'_>,
) -> bool {
    let mut alone = Some(alone);
    let steps = kinds.iter().flat_map(|kind| kind.steps()).collect();
    let title = format!("converge {}", context.intent.host.name);
    Announced { title, steps, ..Announced::default() }.carry_out(reporter, || {
        let mut success = true;
        for kind in kinds {
            alone = alone.take().filter(|_| !kind.is_slow());
            success &= kind.perform(context, reporter);
        }
        success
    })
}

/// Brings back what `[restore]` names. Returns the backups that are not back, for which everything
/// that would use their paths must wait. It comes before anything else is looked at: whether a
/// machine has a disk is known only then.
/// `room` says whether that is asked for before one is begun.
pub fn converge_restores(context: &Context, room: Room, reporter: &Reporter<'_>) -> Vec<String> {
    let kind = prepare_kind(Restores { room }, context);
    let all = || context.intent.restore.iter().flat_map(|restore| restore.backups.clone());
    if standing(&kind.status()) == Standing::Agrees {
        // Only what there is to say of them.
        kind.perform(context, reporter);
        return Vec::new();
    }
    let title = format!("restore {}", context.intent.host.name);
    let steps = kind.steps();
    let announced = Announced { title, steps, ..Announced::default() };
    if announced.carry_out(reporter, || kind.perform(context, reporter)) {
        return Vec::new();
    }
    let left = prepare_kind(Restores::default(), context).status();
    let is_left = |name: &String| {
        // Where it could not even be looked at, nothing is known to be back.
        let is_it = |one: &&Status| one.name.as_ref().is_none_or(|left| left == name);
        left.iter().filter(is_it).any(Status::is_undone)
    };
    all().filter(is_left).collect()
}

/// Compares one kind without changing anything.
pub fn status_of_kind<K: Kind + 'static>(kind: K, context: &Context) -> Vec<Status> {
    prepare_kind(kind, context).status()
}

/// How the restores of `[restore]` stand.
pub fn restores(context: &Context) -> Vec<Status> {
    status_of_kind(Restores::default(), context)
}

/// Compares without changing anything.
pub fn status(context: &Context) -> Vec<Status> {
    prepare(context).iter().flat_map(|kind| kind.status()).collect()
}

/// How far the worst of them is from the intent.
pub fn standing(status: &[Status]) -> Standing {
    status.iter().map(Status::standing).max().unwrap_or(Standing::Agrees)
}

/// As [`converge`] for one kind, told without a plan.
pub fn converge_kind<K: Kind + 'static>(
    kind: K,
    context: &Context,
    reporter: &Reporter<'_>,
) -> bool {
    prepare_kind(kind, context).perform(context, reporter)
}

/// Secrets first: whoever looks sees at once that one does not open. Then bridges: everything else
/// may need the network; backups last: they take long.
fn prepare(context: &Context) -> [Box<dyn Prepared>; 6] {
    [
        prepare_kind(Secrets, context),
        prepare_kind(Bridges, context),
        prepare_kind(Exports, context),
        prepare_kind(VirtualMachines::default(), context),
        prepare_kind(Leftovers, context),
        prepare_kind(Backups, context),
    ]
}

fn prepare_kind<K: Kind + 'static>(kind: K, context: &Context) -> Box<dyn Prepared> {
    Box::new(Compared::new(kind, context))
}

/// A kind that was looked at, whatever its types.
trait Prepared {
    fn steps(&self) -> Vec<StepSummary>;
    fn status(&self) -> Vec<Status>;
    fn is_slow(&self) -> bool;
    fn perform(&self, context: &Context, reporter: &Reporter<'_>) -> bool;
}

struct Compared<K: Kind> {
    kind: K,
    resources: Result<Vec<Found<K::Action>>, K::Error>,
}

/// A resource, with its description where it has one.
type Found<A> = (Resource<A>, Option<Description>);

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
            Err(error) => vec![Status::unseen(K::NAME, None, chain(error))],
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
