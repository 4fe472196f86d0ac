//! Backups as a kind of resource.

use std::collections::BTreeMap;

use bedplate_events::Outcome;
use bedplate_model::host::HostFile;
use bedplate_tools::{programs, systemd_analyze};

use super::diff::{self, Action, Observed};
use super::error::BackupError;
use super::{record, run, schedule};
use bedplate_engine::StepReporter;
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Description, Kind, Resource};

/// All backups.
pub struct Backups;

impl Kind for Backups {
    type Observed = Observed;
    type Action = Action;
    type Error = BackupError;

    const NAME: &'static str = "backup";
    const SLOW: bool = true;
    const ADVICE: &'static str = "see what it names (stick plugged in, pools mounted), then run `bedplate-host backup run NAME`";

    fn observe(&self, context: &Context) -> Result<Observed, BackupError> {
        let now = record::now();
        let program = programs::find(systemd_analyze::PROGRAM);
        let schedules = schedule::look(program.as_deref(), &context.intent.backups);
        let records = BTreeMap::new();
        let mut observed = Observed { mounts: context.mounts.clone(), records, schedules, now };
        for (name, backup) in &context.intent.backups {
            let record = record::read(&context.state, name, &backup.repository);
            let found = record.map_err(|error| in_line(&error));
            observed.records.insert(name.clone(), found);
        }
        Ok(observed)
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff::diff(intent, observed)
    }

    fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        diff::describe(intent, observed, name)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        of_step: &StepReporter<'_>,
    ) -> Result<Outcome, BackupError> {
        let Action::Run { backup } = action;
        match run::first(context, backup)? {
            Some(run) => {
                of_step.bytes(run.summary.data_added, None, "added");
                run.kept.into_iter().for_each(|why| of_step.warn(why));
                Ok(Outcome::Done)
            }
            None => Ok(Outcome::AlreadyDone),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn t43_a_damaged_record_is_told_by_name_and_hides_no_other_backup() {
        let state = tempfile::tempdir().unwrap();
        let mut intent = sample::intent();
        let other = intent.backups["apps"].clone();
        intent.backups.insert("other".into(), other);
        let damaged = record::path(state.path(), "apps");
        fs::create_dir_all(damaged.parent().unwrap()).unwrap();
        fs::write(&damaged, "{ cut").unwrap();
        let context = Context {
            intent,
            mounts: sample::mounts(),
            configuration: state.path().join("etc"),
            runtime: state.path().join("run"),
            state: state.path().to_owned(),
        };
        let observed = Backups.observe(&context).unwrap();
        let found = Backups::diff(&context.intent, &observed);
        let told = found[0].refused.as_deref().unwrap();
        assert!(
            told.contains(damaged.to_str().unwrap()) && told.contains("move it away"),
            "{told}"
        );
        assert!(found[0].actions.is_empty(), "a repository may be there");
        let first = Action::Run { backup: "other".into() };
        assert_eq!((found[1].name.as_str(), &found[1].actions), ("other", &vec![first]));
        let reality = diff::describe(&context.intent, &observed, "apps").unwrap().reality;
        assert_eq!(reality, "not known");
    }
}
