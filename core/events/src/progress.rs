//! How a run stands, told from its events alone: every screen asks this, and none counts for itself.

mod step;

use std::collections::BTreeMap;

pub use step::{Amount, Ended, How, Running, Step};

use crate::{Event, EventKind, Outcome, StepSummary};

/// So many warnings, failures and steps that nobody announced are kept: who sends events may be hostile (T13).
const KEPT: usize = 1000;

/// What is planned, what runs, what ended and how, and what is left.
///
/// Events may be missing, at the beginning above all: whoever looks later sees what came later. A plan that
/// begins while there was one takes its place with all its steps; warnings and failures stay, they are those of
/// the whole run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    plan: Option<Planned>,
    steps: BTreeMap<String, Step>,
    warnings: Vec<Warning>,
    failures: Vec<Failure>,
    end: Option<End>,
}

/// A plan as it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What is planned, for example `install hypervisor`.
    pub title: String,
    /// Plan hash, where the plan has one.
    pub hash: Option<String>,
    /// The steps in order.
    pub steps: Vec<StepSummary>,
    /// Numbers of the steps by their ids, from 0.
    places: BTreeMap<String, usize>,
}

/// Something that deserves attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which step, when one was running.
    pub step: Option<String>,
    /// What deserves attention.
    pub message: String,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which step, when one was running.
    pub step: Option<String>,
    /// What failed.
    pub message: String,
    /// The chain of causes, outermost first.
    pub causes: Vec<String>,
}

/// How a plan, or a run without one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Whether every step ended well.
    pub success: bool,
    /// How long it all took, in milliseconds.
    pub milliseconds: u64,
}

impl Progress {
    /// What these events tell, in their order.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut progress = Self::default();
        events.into_iter().for_each(|event| progress.follow(event));
        progress
    }

    /// Takes in the next event.
    pub fn follow(&mut self, event: &Event) {
        let at = event.at_ms;
        match &event.kind {
            EventKind::PlanStarted { title, plan, steps, .. } => {
                self.plan = Some(Planned::new(title, plan.as_ref(), steps));
                self.steps.clear();
                self.end = None;
            }
            EventKind::StepStarted { step } => {
                self.set(step, Step::Running(Running { since: Some(at), amount: None }));
            }
            EventKind::Progress { step, done, total, unit, note } => {
                let (done, total, unit, note) = (*done, *total, *unit, note.clone());
                self.moves(step, Amount { at, done, total, unit, note });
            }
            EventKind::StepDone { step, outcome, milliseconds } => {
                let how = match outcome {
                    Outcome::Done => How::Done,
                    Outcome::AlreadyDone => How::AlreadyDone,
                };
                let began = self.began(step).or_else(|| at.checked_sub(*milliseconds));
                self.ends(step, how, began, at);
            }
            EventKind::Warned { step, message } => {
                let warning = Warning { step: step.clone(), message: message.clone() };
                keep(&mut self.warnings, warning);
            }
            EventKind::Failed { step, message, causes, .. } => {
                step.iter().for_each(|step| self.fails(step, at));
                let (step, message, causes) = (step.clone(), message.clone(), causes.clone());
                keep(&mut self.failures, Failure { step, message, causes });
            }
            EventKind::PlanDone { success, milliseconds } => {
                let cut: Vec<String> = self.running().map(|(step, _)| step.to_owned()).collect();
                cut.iter().for_each(|step| self.ends(step, How::CutOff, self.began(step), at));
                self.end = Some(End { success: *success, milliseconds: *milliseconds });
            }
        }
    }

    /// The newest plan; none where its announcement was not seen, or there was none.
    pub fn plan(&self) -> Option<&Planned> {
        self.plan.as_ref()
    }

    /// The steps that were announced, in their order.
    pub fn announced(&self) -> &[StepSummary] {
        self.plan.as_ref().map_or(&[], |plan| &plan.steps)
    }

    /// The number of a step among those that were announced, from 1.
    pub fn place(&self, step: &str) -> Option<usize> {
        self.plan.as_ref()?.places.get(step).map(|place| place + 1)
    }

    /// The title of a step; its id where nobody announced it.
    pub fn title<'s>(&'s self, step: &'s str) -> &'s str {
        let place = self.place(step).and_then(|place| self.announced().get(place - 1));
        place.map_or(step, |summary| &summary.title)
    }

    /// How a step stands; none where it has not begun.
    pub fn step(&self, step: &str) -> Option<&Step> {
        self.steps.get(step)
    }

    /// What runs, by the ids.
    pub fn running(&self) -> impl Iterator<Item = (&str, &Running)> {
        self.steps.iter().filter_map(|(id, step)| match step {
            Step::Running(running) => Some((id.as_str(), running)),
            Step::Ended(_) => None,
        })
    }

    /// What has ended, whichever way, in the order in which it did.
    pub fn ended(&self) -> Vec<(&str, &Ended)> {
        let ended = self.steps.iter().filter_map(|(id, step)| match step {
            Step::Running(_) => None,
            Step::Ended(ended) => Some((id.as_str(), ended)),
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_by_key(|(_, ended)| ended.at);
        ended
    }

    /// What was announced and has not begun.
    pub fn left(&self) -> impl Iterator<Item = &StepSummary> {
        self.announced().iter().filter(|step| !self.steps.contains_key(&step.id))
    }

    /// The warnings of the whole run; of very many the first.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The failures of the whole run; of very many the first.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How the newest plan ended, or a run without one; none while it goes on.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn began(&self, step: &str) -> Option<u64> {
        match self.steps.get(step)? {
            Step::Running(running) => running.since,
            Step::Ended(ended) => ended.began,
        }
    }

    fn set(&mut self, step: &str, state: Step) {
        let strangers = self.steps.len().saturating_sub(self.announced().len());
        if self.place(step).is_some() || self.steps.contains_key(step) || strangers < KEPT {
            self.steps.insert(step.to_owned(), state);
        }
    }

    /// Of a step that has ended there is nothing more to tell; one that was not seen to begin runs.
    fn moves(&mut self, step: &str, amount: Amount) {
        match self.steps.get_mut(step) {
            Some(Step::Running(running)) => running.amount = Some(amount),
            Some(Step::Ended(_)) => {}
            None => {
                self.set(step, Step::Running(Running { since: None, amount: Some(amount) }));
            }
        }
    }

    fn ends(&mut self, step: &str, how: How, began: Option<u64>, at: u64) {
        let amount = match self.steps.get_mut(step) {
            Some(Step::Running(running)) => running.amount.take(),
            _ => None,
        };
        self.set(step, Step::Ended(Ended { how, began, at, amount }));
    }

    /// What was done stays done: a failure may show after its step has ended well. What nobody announced and
    /// nobody began is no step.
    fn fails(&mut self, step: &str, at: u64) {
        let fails = match self.steps.get(step) {
            Some(Step::Running(_)) => true,
            Some(Step::Ended(_)) => false,
            None => self.place(step).is_some(),
        };
        if fails {
            self.ends(step, How::Failed, self.began(step), at);
        }
    }
}

impl Planned {
    fn new(title: &str, hash: Option<&String>, steps: &[StepSummary]) -> Self {
        let places = steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place));
        Self {
            title: title.to_owned(),
            hash: hash.cloned(),
            places: places.collect(),
            steps: steps.to_vec(),
        }
    }
}

fn keep<T>(kept: &mut Vec<T>, one: T) {
    if kept.len() < KEPT {
        kept.push(one);
    }
}

#[cfg(test)]
mod tests;
