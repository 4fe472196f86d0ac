//! How the lab stands beside what it was told to hold: it is in no `host.toml`, and nobody else says.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::{LabError, known};
use super::record::Lab;
use super::{name, record};
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;

/// In `status`.
const KIND: &str = "lab";

/// How the lab stands; nothing when there is none.
pub fn compared(context: &Context) -> Vec<Status> {
    let status = match record::read(&context.state) {
        Ok(None) => return Vec::new(),
        Ok(Some(lab)) => guests().map(|(copies, others)| judge(&lab, &copies, &others)),
        Err(error) => Err(error),
    };
    vec![status.unwrap_or_else(|error| Status::unseen(KIND, None, in_line(&error)))]
}

/// Guests of ours, and whether each runs; and the names of all others.
type Guests = (BTreeMap<String, bool>, BTreeSet<String>);

fn guests() -> Result<Guests, LabError> {
    let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        known()?.into_iter().partition(|(_, found)| found.known.ours);
    let ours = ours.into_iter().map(|(name, found)| (name, found.known.running)).collect();
    Ok((ours, others.into_keys().collect()))
}

/// Every copy has to be defined. Whether it runs is its owner's affair.
fn judge(lab: &Lab, ours: &BTreeMap<String, bool>, others: &BTreeSet<String>) -> Status {
    let (mut found, mut wants) = (Vec::new(), Vec::new());
    for copy in lab.machines.iter().map(|machine| name(machine)) {
        match ours.get(&copy) {
            Some(true) => found.push(format!("{copy} running")),
            Some(false) => found.push(format!("{copy} shut off")),
            None if others.contains(&copy) => wants.push(format!(
                "{copy} is somebody else's domain: rename it, then `bedplate-host lab reset`"
            )),
            None => wants.push(format!(
                "{copy} is not defined: `bedplate-host lab reset` makes all copies anew, \
                 `bedplate-host lab destroy` removes what is left"
            )),
        }
    }
    let reality = if found.is_empty() { "no copy is there".to_owned() } else { found.join(", ") };
    Status {
        kind: KIND,
        name: Some(lab.bridge.clone()),
        agrees: wants.is_empty(),
        intent: Some(format!("copies of {}", lab.machines.join(", "))),
        reality: Some(reality),
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use bedplate_resources::status::Standing;
    use bedplate_sample as sample;

    #[test]
    fn a_copy_that_is_not_there_is_told_of_and_one_that_is_off_is_not() {
        let machines = vec!["haos".to_owned(), "apps".to_owned()];
        let lab = Lab { schema: 1, bridge: "br-test".into(), machines };
        let both = BTreeMap::from([("lab-haos".to_owned(), true), ("lab-apps".to_owned(), false)]);
        let whole = judge(&lab, &both, &BTreeSet::new());
        assert_eq!(whole.standing(), Standing::Agrees);
        assert_eq!(whole.reality.as_deref(), Some("lab-haos running, lab-apps shut off"));
        let one = BTreeMap::from([("lab-haos".to_owned(), true)]);
        let cut = judge(&lab, &one, &BTreeSet::new());
        assert_eq!(cut.standing(), Standing::Stuck);
        assert!(cut.wants[0].starts_with("lab-apps is not defined"), "{cut:?}");
        let taken = judge(&lab, &one, &["lab-apps".to_owned()].into());
        assert!(taken.wants[0].contains("somebody else's"), "{taken:?}");
    }

    #[test]
    fn no_lab_is_nothing_to_tell_and_a_damaged_record_is_told_by_name() {
        let state = tempfile::tempdir().unwrap();
        let context = Context {
            intent: sample::intent(),
            mounts: sample::mounts(),
            configuration: state.path().join("etc"),
            runtime: state.path().join("run"),
            state: state.path().to_owned(),
        };
        assert!(compared(&context).is_empty());
        fs::write(state.path().join("lab.json"), "{ cut").unwrap();
        let told = compared(&context).remove(0);
        assert_eq!(told.standing(), Standing::Stuck);
        let why = told.refused.unwrap();
        assert!(
            why.contains("lab.json is damaged") && why.contains("move the record away"),
            "{why}"
        );
    }
}
