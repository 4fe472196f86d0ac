//! What the installer of a machine is at, as it is told over ssh.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind};

/// Version of [`Report`].
pub const REPORT_SCHEMA: u32 = 1;

/// What `bedplate-installer state` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: u32,
    /// What it is at.
    #[serde(flatten)]
    pub state: State,
}

/// What an installer is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nothing runs and nothing was executed: it waits for a document.
    Waiting,
    /// It reads the machine, or asks somebody at the console.
    Busy,
    /// A plan is being executed.
    Installing {
        /// Title of the plan, for example `install hypervisor`.
        title: String,
        /// Its hash.
        plan: Option<String>,
    },
    /// A plan was executed, to its end or to a failure.
    Ended {
        /// Title of the plan.
        title: String,
        /// Its hash.
        plan: Option<String>,
        /// Whether every step ended well.
        success: bool,
    },
}

/// The state that `events` tell, one line of JSON each, of a run that `runs` still or not. Lines
/// that are no event are passed over: the last may be written in part.
pub fn state(events: &str, runs: bool) -> State {
    let (mut begun, mut success) = (None, false);
    for event in events.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        match event.kind {
            EventKind::PlanStarted { title, plan, .. } => begun = Some((title, plan)),
            EventKind::PlanDone { success: well, .. } => success = well,
            _ => {}
        }
    }
    match (begun, runs) {
        (None, true) => State::Busy,
        (None, false) => State::Waiting,
        (Some((title, plan)), true) => State::Installing { title, plan },
        (Some((title, plan)), false) => State::Ended { title, plan, success },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EVENT_SCHEMA;

    fn lines(kinds: Vec<EventKind>) -> String {
        let line = |kind| {
            let event = Event { schema: EVENT_SCHEMA, sequence: 0, at_ms: 0, kind };
            serde_json::to_string(&event).unwrap() + "\n"
        };
        kinds.into_iter().map(line).collect()
    }

    fn started() -> EventKind {
        EventKind::PlanStarted {
            title: "install attic".into(),
            plan: Some("c0ffee".into()),
            steps: Vec::new(),
            destroys: Vec::new(),
        }
    }

    fn done(success: bool) -> EventKind {
        EventKind::PlanDone { success, milliseconds: 1 }
    }

    #[test]
    fn the_events_and_whether_anybody_runs_tell_the_state() {
        let (title, plan) = ("install attic".to_owned(), Some("c0ffee".to_owned()));
        assert_eq!(state("", false), State::Waiting);
        assert_eq!(state("", true), State::Busy);
        assert_eq!(
            state(&lines(vec![started()]), true),
            State::Installing { title: title.clone(), plan: plan.clone() }
        );
        for success in [true, false] {
            let ended = State::Ended { title: title.clone(), plan: plan.clone(), success };
            assert_eq!(state(&lines(vec![started(), done(success)]), false), ended);
        }
        // A run that found nothing to do, or was refused, executed no plan.
        assert_eq!(state(&lines(vec![done(true)]), false), State::Waiting);
    }

    #[test]
    fn f1_an_installer_that_was_killed_did_not_succeed() {
        let cut = lines(vec![started()]) + "{\"schema\":1,\"sequ";
        assert!(matches!(state(&cut, false), State::Ended { success: false, .. }));
    }

    #[test]
    fn the_report_is_one_flat_object() {
        let report = Report { schema: REPORT_SCHEMA, state: State::Busy };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, r#"{"schema":1,"state":"busy"}"#);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
