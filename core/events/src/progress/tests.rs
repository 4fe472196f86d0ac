use super::*;
use crate::{EVENT_SCHEMA, Unit};

fn at(at_ms: u64, kind: EventKind) -> Event {
    Event { schema: EVENT_SCHEMA, sequence: 0, at_ms, kind }
}

fn plan(title: &str, ids: &[&str]) -> EventKind {
    let summary = |id: &&str| StepSummary { id: (*id).into(), title: format!("Do {id}") };
    EventKind::PlanStarted {
        title: title.into(),
        plan: Some("c0ffee".into()),
        steps: ids.iter().map(summary).collect(),
        destroys: Vec::new(),
    }
}

fn begin(step: &str) -> EventKind {
    EventKind::StepStarted { step: step.into() }
}

fn done(step: &str, milliseconds: u64) -> EventKind {
    EventKind::StepDone { step: step.into(), outcome: Outcome::Done, milliseconds }
}

fn copied(step: &str, done: u64) -> EventKind {
    let (total, unit) = (Some(600_000_000), Unit::Bytes);
    EventKind::Progress { step: step.into(), done, total, unit, note: None }
}

fn failed(step: Option<&str>) -> EventKind {
    EventKind::Failed {
        step: step.map(str::to_owned),
        device: None,
        state: None,
        message: "it broke".into(),
        causes: vec!["why".into()],
        next: "mend it".into(),
    }
}

fn over(success: bool) -> EventKind {
    EventKind::PlanDone { success, milliseconds: 9 }
}

fn of(kinds: Vec<EventKind>) -> Progress {
    let events: Vec<Event> = kinds.into_iter().zip(0..).map(|(kind, ms)| at(ms, kind)).collect();
    Progress::of(&events)
}

fn how(progress: &Progress, step: &str) -> Option<How> {
    match progress.step(step)? {
        Step::Running(_) => None,
        Step::Ended(ended) => Some(ended.how),
    }
}

fn left(progress: &Progress) -> Vec<&str> {
    progress.left().map(|step| step.id.as_str()).collect()
}

fn running(progress: &Progress) -> Vec<&str> {
    progress.running().map(|(step, _)| step).collect()
}

#[test]
fn what_runs_is_no_longer_left_and_what_ended_no_longer_runs() {
    let progress = of(vec![plan("p", &["a", "b", "c"]), begin("a"), begin("b"), done("a", 1)]);
    assert_ne!(left(&progress), ["b", "c"], "b runs");
    assert_eq!((left(&progress), running(&progress)), (vec!["c"], vec!["b"]));
    assert_eq!(progress.ended().len(), 1);
    assert_eq!(how(&progress, "a"), Some(How::Done));
    assert_eq!((progress.place("b"), progress.title("b")), (Some(2), "Do b"));
    assert_eq!(progress.end(), None);
}

#[test]
fn the_rate_counts_from_the_beginning_of_the_step_and_never_divides_by_nothing() {
    let mut progress = Progress::default();
    progress.follow(&at(1000, begin("copy")));
    progress.follow(&at(1000, copied("copy", 1)));
    let rates = |progress: &Progress| match progress.step("copy") {
        Some(Step::Running(running)) => (running.rate(), running.remaining()),
        other => panic!("{other:?}"),
    };
    assert_eq!(rates(&progress), (None, None));
    progress.follow(&at(3000, copied("copy", 90_000_000)));
    assert_eq!(rates(&progress), (Some(45_000_000), Some(11_333)));
    progress.follow(&at(4000, copied("copy", 0)));
    assert_eq!(rates(&progress), (Some(0), None));
    progress.follow(&at(u64::MAX, copied("copy", u64::MAX)));
    assert_eq!(rates(&progress), (Some(1), Some(0)), "more than all leaves nothing");
    // Time that goes back is no time.
    progress.follow(&at(0, copied("copy", 5)));
    assert_eq!(rates(&progress), (None, None));
}

#[test]
fn events_that_were_lost_at_the_beginning_leave_what_came_after() {
    let lost = of(vec![copied("copy", 7), done("earlier", 1), begin("later")]);
    assert_eq!((lost.plan(), lost.announced().len(), left(&lost).len()), (None, 0, 0));
    assert_eq!(running(&lost), ["copy", "later"]);
    assert_eq!((lost.place("copy"), lost.title("copy")), (None, "copy"));
    let Some(Step::Running(copy)) = lost.step("copy") else { panic!("{lost:?}") };
    assert_eq!((copy.since, copy.rate()), (None, None), "nobody saw when it began");
}

#[test]
fn a_step_that_ends_without_having_begun_has_ended() {
    let mut progress = of(vec![plan("p", &["a", "b"])]);
    progress.follow(&at(700, done("a", 600)));
    assert_eq!(left(&progress), ["b"]);
    let Some(Step::Ended(ended)) = progress.step("a") else { panic!("{progress:?}") };
    assert_eq!((ended.how, ended.began, ended.at), (How::Done, Some(100), 700));
    // What it says of how long it took cannot be.
    progress.follow(&at(800, done("b", 900)));
    let Some(Step::Ended(ended)) = progress.step("b") else { panic!("{progress:?}") };
    assert_eq!(ended.began, None);
    // What comes late does not bring it back.
    progress.follow(&at(900, copied("b", 1)));
    assert_eq!(running(&progress).len(), 0);
}

#[test]
fn a_second_plan_takes_the_place_of_the_first_and_failures_stay() {
    let first = vec![plan("one", &["a", "b"]), begin("a"), failed(Some("a")), over(false)];
    let alone = of(first.clone());
    assert_eq!((how(&alone, "a"), left(&alone)), (Some(How::Failed), vec!["b"]));
    assert_eq!(alone.end().map(|end| end.success), Some(false));
    let both = of([first, vec![plan("two", &["a"]), begin("x")]].concat());
    assert_eq!(both.end(), None, "the second is not over");
    assert_eq!(both.plan().map(|plan| plan.title.as_str()), Some("two"));
    assert_eq!((left(&both), running(&both)), (vec!["a"], vec!["x"]));
    assert_eq!(both.failures().len(), 1);
}

#[test]
fn what_a_run_cuts_off_neither_runs_nor_is_done() {
    let progress = of(vec![plan("p", &["a", "b"]), begin("a"), failed(None), over(false)]);
    assert_eq!((how(&progress, "a"), running(&progress).len()), (Some(How::CutOff), 0));
    assert_eq!(left(&progress), ["b"]);
}

#[test]
fn a_failure_after_a_step_leaves_it_done_and_one_before_ends_it() {
    let after = of(vec![plan("p", &["a", "b"]), begin("a"), done("a", 1), failed(Some("a"))]);
    assert_eq!(how(&after, "a"), Some(How::Done));
    let before = of(vec![plan("p", &["a", "b"]), failed(Some("b"))]);
    assert_eq!(how(&before, "b"), Some(How::Failed));
    assert_eq!(left(&before), ["a"]);
}

#[test]
fn t13_names_that_nobody_announced_are_shown_and_take_no_memory_without_end() {
    let mut progress = of(vec![plan("p", &["a"]), failed(Some("a kind")), begin("stranger")]);
    assert!(progress.step("a kind").is_none(), "it is no step");
    assert_eq!((progress.failures().len(), running(&progress)), (1, vec!["stranger"]));
    for number in 0..10 * KEPT {
        progress.follow(&at(1, begin(&format!("s{number}"))));
        let message = String::new();
        progress.follow(&at(1, EventKind::Warned { step: None, message }));
        progress.follow(&at(1, failed(None)));
    }
    assert!(progress.running().count() <= KEPT + 1);
    assert_eq!((progress.warnings().len(), progress.failures().len()), (KEPT, KEPT));
    // There is always room for what was announced.
    progress.follow(&at(2, begin("a")));
    assert!(matches!(progress.step("a"), Some(Step::Running(_))));
}
