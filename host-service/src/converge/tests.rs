use std::cell::RefCell;
use std::fmt;

use super::*;
use bedplate_spec::event::{Event, Outcome};
use bedplate_spec::host::HostFile;

use crate::mounts::Mounts;
use crate::sample;

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
        _: &mut Reporter<'_>,
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
    let success = compared.perform(&context(), &mut Reporter::new(&mut sink));
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
