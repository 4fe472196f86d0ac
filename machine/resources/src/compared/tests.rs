use std::cell::RefCell;
use std::fmt;

use bedplate_events::EventKind;
use serde::Serialize;

use super::*;
use crate::status::{Standing, standing};
use bedplate_events::{Event, Outcome};
use bedplate_model::host::HostFile;

use bedplate_sample as sample;
use bedplate_tools::mounts::Mounts;

/// Lamps that are to burn. The world is a list of those that do.
struct Lamps {
    burning: RefCell<Vec<String>>,
    broken: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Light(String);

impl fmt::Display for Light {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "light {}", self.0)
    }
}

impl Kind for Lamps {
    type Observed = Vec<String>;
    type Action = Light;
    type Error = std::io::Error;

    const NAME: &'static str = "lamp";
    const ADVICE: &'static str = "change it";

    fn observe(&self, _: &Context) -> Result<Self::Observed, Self::Error> {
        Ok(self.burning.borrow().clone())
    }

    fn diff(_: &HostFile, burning: &Self::Observed) -> Vec<Resource<Light>> {
        let lamps = ["a", "b", "c"].into_iter();
        lamps
            .map(|name| {
                let dark = !burning.iter().any(|one| one == name);
                Resource::new(name, dark.then(|| Light(name.to_owned())).into_iter().collect())
            })
            .collect()
    }

    fn describe(_: &HostFile, burning: &Self::Observed, name: &str) -> Option<Description> {
        let burns = burning.iter().any(|one| one == name);
        let reality = if burns { "burns" } else { "dark" };
        Some(Description { intent: "burns".into(), reality: reality.into() })
    }

    fn perform(
        &self,
        _: &Context,
        action: &Light,
        _: &StepReporter<'_>,
    ) -> Result<Outcome, Self::Error> {
        if self.broken == Some(action.0.as_str()) {
            return Err(std::io::Error::other("no bulb"));
        }
        self.burning.borrow_mut().push(action.0.clone());
        Ok(Outcome::Done)
    }
}

fn context() -> Context {
    Context {
        intent: sample::intent(),
        mounts: Mounts::default(),
        configuration: "/nowhere".into(),
        runtime: "/nowhere".into(),
        state: "/nowhere".into(),
    }
}

fn lamps(broken: Option<&'static str>) -> Compared<Lamps> {
    let burning = RefCell::new(vec!["a".to_owned()]);
    Compared::new(Lamps { burning, broken }, &context())
}

fn perform(compared: &Compared<Lamps>) -> (bool, Vec<EventKind>) {
    let mut told = Vec::new();
    let mut sink = |event: &Event| told.push(event.kind.clone());
    let success = compared.perform(&context(), &Reporter::to(&mut sink));
    (success, told)
}

#[test]
fn one_resource_that_fails_does_not_stop_the_others() {
    let compared = lamps(Some("b"));
    let (success, told) = perform(&compared);
    assert!(!success);
    assert_eq!(*compared.kind.burning.borrow(), ["a", "c"]);
    let failed = told.iter().filter(|kind| matches!(kind, EventKind::Failed { .. })).count();
    assert_eq!(failed, 1, "{told:?}");
}

#[test]
fn a_second_run_does_nothing() {
    let compared = lamps(None);
    assert_eq!(compared.steps().len(), 2);
    assert!(perform(&compared).0);
    let again = Compared::new(compared.kind, &context());
    assert!(again.steps().is_empty());
    let (success, told) = perform(&again);
    assert!(success && told.is_empty(), "{told:?}");
    assert_eq!(standing(&again.status()), Standing::Agrees);
}

#[test]
fn f10_a_run_that_was_cut_off_is_finished_by_the_next() {
    let compared = lamps(Some("c"));
    assert!(!perform(&compared).0);
    let kind = Lamps { broken: None, ..compared.kind };
    let again = Compared::new(kind, &context());
    let left: Vec<_> = again.steps().into_iter().map(|step| step.title).collect();
    assert_eq!(left, ["light c"]);
    assert!(perform(&again).0);
}

#[test]
fn status_says_intent_reality_and_drift() {
    let status = lamps(None).status();
    insta::assert_json_snapshot!(status);
    assert_eq!(standing(&status), Standing::Differs);
}

#[test]
fn what_converge_cannot_mend_is_worse_than_what_it_can() {
    let mut status = lamps(None).status();
    status[0].agrees = false;
    assert_eq!(standing(&status), Standing::Stuck);
    let codes = [Standing::Agrees, Standing::Differs, Standing::Stuck].map(Standing::exit_code);
    assert_eq!(codes, [0, 3, 4]);
}

#[test]
fn what_only_a_person_can_see_to_is_not_as_intended_and_fails_no_converge() {
    let wants = vec!["the newest is 3 days old".to_owned()];
    let resource = Resource { wants, ..Resource::<Light>::new("a", Vec::new()) };
    let status = status_of::<Lamps>(&resource, None);
    assert!(!status.agrees && status.standing() == Standing::Stuck, "{status:?}");
    let would = Resource { actions: vec![Light("a".into())], ..resource };
    assert_eq!(status_of::<Lamps>(&would, None).standing(), Standing::Differs, "converge first");

    let mut compared = lamps(None);
    let wants = vec!["dust it".to_owned()];
    compared.resources = Ok(vec![(Resource { wants, ..Resource::new("a", Vec::new()) }, None)]);
    let (success, told) = perform(&compared);
    assert!(
        success && matches!(&told[..], [EventKind::Warned { message, .. }] if message == "dust it")
    );
}

/// Something slow that rings where nobody else holds the lock.
struct Bell;

impl Kind for Bell {
    type Observed = ();
    type Action = Light;
    type Error = std::io::Error;

    const NAME: &'static str = "bell";
    const ADVICE: &'static str = "wait";
    const SLOW: bool = true;

    fn observe(&self, _: &Context) -> Result<(), Self::Error> {
        Ok(())
    }

    fn diff(_: &HostFile, (): &()) -> Vec<Resource<Light>> {
        vec![Resource::new("d", vec![Light("d".into())])]
    }

    fn perform(
        &self,
        context: &Context,
        _: &Light,
        _: &StepReporter<'_>,
    ) -> Result<Outcome, Self::Error> {
        let free = File::create(context.runtime.join("host.lock"))?.try_lock().is_ok();
        if free {
            Ok(Outcome::Done)
        } else {
            Err(std::io::Error::other("somebody else would wait"))
        }
    }
}

#[test]
fn nobody_waits_for_what_may_take_hours() {
    let runtime = tempfile::tempdir().unwrap();
    let context = Context { runtime: runtime.path().to_owned(), ..context() };
    let kinds: [Box<dyn Prepared>; 2] =
        [Box::new(lamps(None)), Box::new(Compared::new(Bell, &context))];
    let alone = File::create(runtime.path().join("host.lock")).unwrap();
    alone.lock().unwrap();
    let mut told = Vec::new();
    let mut sink = |event: &Event| told.push(event.kind.clone());
    let well = perform_all("converge".into(), &kinds, &context, alone, &Reporter::to(&mut sink));
    assert!(well, "{told:?}");
}

/// Lamps that are lit, and may not be made as intended.
struct Dim(Lamps);

impl Kind for Dim {
    type Observed = Vec<String>;
    type Action = Light;
    type Error = std::io::Error;

    const NAME: &'static str = "lamp";
    const ADVICE: &'static str = "change it";

    fn observe(&self, context: &Context) -> Result<Self::Observed, Self::Error> {
        self.0.observe(context)
    }

    fn diff(_: &HostFile, _: &Self::Observed) -> Vec<Resource<Light>> {
        let light = || vec![Light("a".to_owned())];
        vec![Resource { actions: light(), ..Resource::refused("a", "it is dim") }]
    }

    fn perform(
        &self,
        context: &Context,
        action: &Light,
        reporter: &StepReporter<'_>,
    ) -> Result<Outcome, Self::Error> {
        self.0.perform(context, action, reporter)
    }
}

#[test]
fn what_is_safe_of_something_refused_is_done_and_it_is_told_all_the_same() {
    let lamps = Lamps { burning: RefCell::default(), broken: None };
    let mut told = Vec::new();
    let mut sink = |event: &Event| told.push(format!("{:?}", event.kind));
    let compared = Compared::new(Dim(lamps), &context());
    let status = compared.status();
    assert_eq!(standing(&status), Standing::Stuck);
    assert!(!compared.perform(&context(), &Reporter::to(&mut sink)));
    assert_eq!(*compared.kind.0.burning.borrow(), ["a"]);
    assert!(told.last().unwrap().contains("it is dim"), "{told:?}");
}
