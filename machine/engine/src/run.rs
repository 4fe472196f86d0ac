//! Running the steps of a plan.

use bedplate_events::{EventKind, Outcome, StepSummary};

use crate::failure::{StepFailure, failed};
use crate::parallel::{Unfinished, try_each_in_turn};
use crate::reporter::{Reporter, StepReporter};

/// What is told before the first step.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// What is planned, for example `install hypervisor`.
    pub title: String,
    /// Plan hash, where the plan has one.
    pub plan: Option<String>,
    /// The steps in order.
    pub steps: Vec<StepSummary>,
    /// What will be destroyed, one line each.
    pub destroys: Vec<String>,
}

impl Announced {
    /// Tells the plan.
    pub fn tell(self, reporter: &Reporter<'_>) {
        let Self { title, plan, steps, destroys } = self;
        reporter.emit(EventKind::PlanStarted { title, plan, steps, destroys });
    }

    /// Tells the plan, has it carried out, and tells how it ended.
    pub fn carry_out(self, reporter: &Reporter<'_>, work: impl FnOnce() -> bool) -> bool {
        self.tell(reporter);
        let success = work();
        reporter.emit(EventKind::PlanDone { success, milliseconds: reporter.milliseconds() });
        success
    }
}

/// A step as the engine knows it.
pub struct Task<'a, S> {
    /// Stable identifier, under which it is told.
    pub id: String,
    /// Numbers of the tasks that must have ended well before it begins.
    pub after: Vec<usize>,
    /// What is to be done.
    pub step: &'a S,
}

/// Who does the work of steps that may run side by side.
pub trait Works<S>: Sync {
    /// Why a step failed.
    type Error;

    /// A step is about to begin.
    fn begins(&self, step: &S);

    /// Does what the step says.
    fn perform(&self, step: &S) -> Result<Outcome, Self::Error>;

    /// A step ended well. What it gives is a failure that shows only now: nothing follows it.
    fn ended(&self, step: &S) -> Option<EventKind>;

    /// What is told of a step that failed.
    fn failure(&self, step: &S, error: Self::Error) -> EventKind;

    /// Whether there is room for a step beside those that were begun: memory, for example.
    fn has_room(&self, step: &S, begun: &[&S]) -> bool;
}

/// Carries out tasks by so many threads, each once all that it comes after have ended well. After the first
/// failure nothing new is begun.
pub fn side_by_side<S: Sync, W: Works<S>>(
    tasks: &[Task<'_, S>],
    works: &W,
    reporter: &Reporter<'_>,
    workers: usize,
) -> bool {
    let numbered: Vec<(usize, &Task<'_, S>)> = tasks.iter().enumerate().collect();
    let may_begin = |(_, task): &(usize, &Task<'_, S>),
                     unfinished: &Unfinished<'_, (usize, &Task<'_, S>)>| {
        let is_before = |(number, _): &&(usize, &Task<'_, S>)| task.after.contains(number);
        let begun: Vec<&S> = unfinished.begun.iter().map(|(_, task)| task.step).collect();
        !unfinished.before.iter().any(is_before) && works.has_room(task.step, &begun)
    };
    let all = try_each_in_turn(&numbered, workers, &may_begin, &|(_, task)| {
        works.begins(task.step);
        let failure = |error| works.failure(task.step, error);
        let well = told(reporter, &task.id, |_| works.perform(task.step), failure);
        match well.then(|| works.ended(task.step)) {
            Some(None) => Ok(()),
            Some(Some(failure)) => {
                reporter.emit(failure);
                Err(())
            }
            None => Err(()),
        }
    });
    all.is_ok()
}

/// Carries out steps one after the other, until one fails; `next` says what to do about that, unless
/// the failure does.
pub fn in_turn<'s, S: 's, E: StepFailure + 'static>(
    steps: impl IntoIterator<Item = (String, &'s S)>,
    reporter: &Reporter<'_>,
    next: &str,
    perform: &mut dyn FnMut(&S, &StepReporter<'_>) -> Result<Outcome, E>,
) -> bool {
    steps.into_iter().all(|(id, step)| {
        let failure = |error: E| failed(Some(&id), &error, next);
        told(reporter, &id, |of_step| perform(step, of_step), failure)
    })
}

/// One step, with what is told of it.
fn told<E>(
    reporter: &Reporter<'_>,
    id: &str,
    perform: impl FnOnce(&StepReporter<'_>) -> Result<Outcome, E>,
    failure: impl FnOnce(E) -> EventKind,
) -> bool {
    reporter.emit(EventKind::StepStarted { step: id.to_owned() });
    let began = reporter.milliseconds();
    match perform(&StepReporter::new(reporter, id)) {
        Ok(outcome) => {
            let milliseconds = reporter.milliseconds().saturating_sub(began);
            reporter.emit(EventKind::StepDone { step: id.to_owned(), outcome, milliseconds });
            true
        }
        Err(error) => {
            reporter.emit(failure(error));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bedplate_events::Event;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it is broken")]
    struct Broken;

    impl StepFailure for Broken {}

    /// What was told, a word each.
    fn words(events: &[EventKind]) -> Vec<String> {
        let word = |event: &EventKind| match event {
            EventKind::PlanStarted { title, .. } => format!("plan {title}"),
            EventKind::StepStarted { step } => format!("begin {step}"),
            EventKind::StepDone { step, .. } => format!("end {step}"),
            EventKind::Failed { step, next, .. } => format!("failed {step:?} {next}"),
            EventKind::Warned { message, .. } => format!("warned {message}"),
            EventKind::Progress { done, .. } => format!("progress {done}"),
            EventKind::PlanDone { success, .. } => format!("done {success}"),
        };
        events.iter().map(word).collect()
    }

    fn recorded(work: impl FnOnce(&Reporter<'_>)) -> Vec<String> {
        let mut events = Vec::new();
        work(&Reporter::to(|event: &Event| events.push(event.kind.clone())));
        words(&events)
    }

    #[test]
    fn steps_in_turn_end_at_the_first_failure_with_what_to_do_next() {
        let told = recorded(|reporter| {
            let plan = Announced { title: "three".into(), ..Announced::default() };
            let steps = [("a".to_owned(), &1), ("b".to_owned(), &2), ("c".to_owned(), &3)];
            let success = plan.carry_out(reporter, || {
                in_turn(steps, reporter, "mend it", &mut |step, of_step| {
                    of_step.bytes(*step, None, "x");
                    // Told a moment ago.
                    of_step.bytes(99, None, "x");
                    if *step == 2 { Err(Broken) } else { Ok(Outcome::Done) }
                })
            });
            assert!(!success);
        });
        let wanted = [
            "plan three",
            "begin a",
            "progress 1",
            "end a",
            "begin b",
            "progress 2",
            "failed Some(\"b\") mend it",
            "done false",
        ];
        assert_eq!(told, wanted);
    }

    /// Works on numbers: those of `broken` fail, after one of `troubled` trouble shows.
    #[derive(Default)]
    struct Numbers {
        broken: Option<u32>,
        troubled: Option<u32>,
        ended: Mutex<Vec<u32>>,
        most: usize,
    }

    impl Works<u32> for Numbers {
        type Error = Broken;

        fn begins(&self, _: &u32) {}

        fn perform(&self, step: &u32) -> Result<Outcome, Broken> {
            if self.broken == Some(*step) { Err(Broken) } else { Ok(Outcome::Done) }
        }

        fn ended(&self, step: &u32) -> Option<EventKind> {
            self.ended.lock().unwrap().push(*step);
            (self.troubled == Some(*step)).then(|| failed(None, &Broken, "trouble"))
        }

        fn failure(&self, step: &u32, error: Broken) -> EventKind {
            failed(Some(&step.to_string()), &error, "again")
        }

        fn has_room(&self, _: &u32, begun: &[&u32]) -> bool {
            self.most == 0 || begun.len() < self.most
        }
    }

    fn task(step: &u32, after: &[usize]) -> Task<'static, u32> {
        Task { id: step.to_string(), after: after.to_vec(), step: Box::leak(Box::new(*step)) }
    }

    #[test]
    fn a_step_begins_once_all_that_it_comes_after_ended_well() {
        for most in [0, 1] {
            let works = Numbers { most, ..Numbers::default() };
            let tasks = [task(&1, &[]), task(&2, &[0]), task(&3, &[]), task(&4, &[1, 2])];
            let told = recorded(|reporter| assert!(side_by_side(&tasks, &works, reporter, 4)));
            let place = |what: &str| told.iter().position(|one| one == what).unwrap();
            assert!(place("end 1") < place("begin 2"), "{told:?}");
            assert!(place("end 2") < place("begin 4") && place("end 3") < place("begin 4"));
            assert_eq!(works.ended.lock().unwrap().len(), 4);
        }
    }

    #[test]
    fn nothing_follows_a_failure_nor_trouble_that_shows_after_a_step() {
        let tasks = [task(&1, &[]), task(&2, &[0]), task(&3, &[1])];
        let works = Numbers { broken: Some(2), ..Numbers::default() };
        let told = recorded(|reporter| assert!(!side_by_side(&tasks, &works, reporter, 2)));
        assert_eq!(told, ["begin 1", "end 1", "begin 2", "failed Some(\"2\") again"]);
        let works = Numbers { troubled: Some(1), ..Numbers::default() };
        let told = recorded(|reporter| assert!(!side_by_side(&tasks, &works, reporter, 2)));
        assert_eq!(told, ["begin 1", "end 1", "failed None trouble"]);
    }
}
