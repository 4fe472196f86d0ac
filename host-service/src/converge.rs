//! Observe, compare, act: kind by kind, resource by resource.

use serde::Serialize;

use bedplate_spec::event::{EventKind, StepSummary};

use crate::backup::Backups;
use crate::bridge::Bridges;
use crate::context::Context;
use crate::kind::{Kind, Resource};
use crate::nfs::Exports;
use crate::report::Reporter;
use crate::restore::Restores;
use crate::secret::Secrets;
use crate::vm::VirtualMachines;

/// One resource compared with the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `pool`, `secret`, `bridge`, `export`, `vm` or `backup`.
    pub kind: &'static str,
    /// Name in `host.toml`; none when the whole kind could not be looked at.
    pub name: Option<String>,
    /// Whether it is as intended.
    pub agrees: bool,
    /// What converge would do.
    pub actions: Vec<String>,
    /// Why converge would do nothing although it is not as intended.
    pub refused: Option<String>,
    /// What its owner should know.
    pub notes: Vec<String>,
}

/// Makes the machine agree with the intent. True when everything does.
pub fn converge(context: &Context, reporter: &mut Reporter<'_>) -> bool {
    let kinds = prepare(context);
    let steps = kinds.iter().flat_map(|kind| kind.steps()).collect();
    let title = format!("converge {}", context.intent.host.name);
    reporter.tell(EventKind::PlanStarted { title, plan: None, steps, destroys: Vec::new() });
    let mut success = true;
    for kind in &kinds {
        success &= kind.perform(context, reporter);
    }
    let milliseconds = reporter.milliseconds();
    reporter.tell(EventKind::PlanDone { success, milliseconds });
    success
}

/// Brings back what `[restore]` names. Returns the backups that are not back, for which everything
/// that would use their paths must wait. It comes before anything else is looked at: whether a
/// machine has a disk is known only then.
pub fn converge_restores(context: &Context, reporter: &mut Reporter<'_>) -> Vec<String> {
    let kind = prepare_kind(Restores, context);
    let all = || context.intent.restore.iter().flat_map(|restore| restore.backups.clone());
    if agrees(&kind.status()) {
        // Only what there is to say of them.
        kind.perform(context, reporter);
        return Vec::new();
    }
    let title = format!("restore {}", context.intent.host.name);
    let steps = kind.steps();
    reporter.tell(EventKind::PlanStarted { title, plan: None, steps, destroys: Vec::new() });
    let success = kind.perform(context, reporter);
    let milliseconds = reporter.milliseconds();
    reporter.tell(EventKind::PlanDone { success, milliseconds });
    if success {
        return Vec::new();
    }
    let left = prepare_kind(Restores, context).status();
    let is_left = |name: &String| {
        // Where it could not even be looked at, nothing is known to be back.
        left.iter().any(|one| !one.agrees && one.name.as_ref().is_none_or(|left| left == name))
    };
    all().filter(is_left).collect()
}

/// How the restores of `[restore]` stand.
pub fn restores(context: &Context) -> Vec<Status> {
    prepare_kind(Restores, context).status()
}

/// Compares without changing anything.
pub fn status(context: &Context) -> Vec<Status> {
    prepare(context).iter().flat_map(|kind| kind.status()).collect()
}

/// Whether everything is as intended.
pub fn agrees(status: &[Status]) -> bool {
    status.iter().all(|one| one.agrees)
}

/// Whether every secret of the repository opens; told as `converge` tells it.
pub fn converge_secrets(context: &Context, reporter: &mut Reporter<'_>) -> bool {
    prepare_kind(Secrets, context).perform(context, reporter)
}

/// Secrets first: whoever looks sees at once that one does not open. Then bridges: everything else
/// may need the network; backups last: they take long.
fn prepare(context: &Context) -> [Box<dyn Prepared>; 5] {
    [
        prepare_kind(Secrets, context),
        prepare_kind(Bridges, context),
        prepare_kind(Exports, context),
        prepare_kind(VirtualMachines::default(), context),
        prepare_kind(Backups, context),
    ]
}

fn prepare_kind<K: Kind + 'static>(kind: K, context: &Context) -> Box<dyn Prepared> {
    let resources = kind.observe(context).map(|observed| K::diff(&context.intent, &observed));
    Box::new(Compared { kind, resources })
}

/// A kind that was looked at, whatever its types.
trait Prepared {
    fn steps(&self) -> Vec<StepSummary>;
    fn status(&self) -> Vec<Status>;
    fn perform(&self, context: &Context, reporter: &mut Reporter<'_>) -> bool;
}

struct Compared<K: Kind> {
    kind: K,
    resources: Result<Vec<Resource<K::Action>>, K::Error>,
}

impl<K: Kind> Compared<K> {
    fn resources(&self) -> &[Resource<K::Action>] {
        self.resources.as_deref().unwrap_or_default()
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
        self.resources().iter().flat_map(numbered).collect()
    }

    fn status(&self) -> Vec<Status> {
        match &self.resources {
            Ok(resources) => resources.iter().map(status_of::<K>).collect(),
            Err(error) => vec![Status {
                kind: K::NAME,
                name: None,
                agrees: false,
                actions: Vec::new(),
                refused: Some(chain(error)),
                notes: Vec::new(),
            }],
        }
    }

    fn perform(&self, context: &Context, reporter: &mut Reporter<'_>) -> bool {
        if let Err(error) = &self.resources {
            reporter.fail(Some(K::NAME.to_owned()), error, K::ADVICE);
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
    reporter: &mut Reporter<'_>,
) -> bool {
    let name = format!("{} {}", K::NAME, resource.name);
    for note in &resource.notes {
        reporter.warn(Some(name.clone()), note.clone());
    }
    if let Some(why) = &resource.refused {
        reporter.fail(Some(name), &Refused(why.clone()), K::ADVICE);
        return false;
    }
    for (index, action) in resource.actions.iter().enumerate() {
        let step = step_id::<K>(&resource.name, index);
        reporter.start_step(&step);
        let began = reporter.milliseconds();
        match kind.perform(context, action, reporter) {
            Ok(outcome) => {
                let milliseconds = reporter.milliseconds() - began;
                reporter.tell(EventKind::StepDone { step, outcome, milliseconds });
            }
            Err(error) => {
                reporter.fail(Some(step), &error, K::ADVICE);
                return false;
            }
        }
    }
    true
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn step_id<K: Kind>(name: &str, index: usize) -> String {
    format!("{}-{name}-{}", K::NAME, index + 1)
}

fn status_of<K: Kind>(resource: &Resource<K::Action>) -> Status {
    Status {
        kind: K::NAME,
        name: Some(resource.name.clone()),
        agrees: resource.actions.is_empty() && resource.refused.is_none(),
        actions: resource.actions.iter().map(ToString::to_string).collect(),
        refused: resource.refused.clone(),
        notes: resource.notes.clone(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |cause| (*cause).source());
    texts.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
