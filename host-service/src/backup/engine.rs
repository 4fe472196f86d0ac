//! Backups as a kind of resource.

use bedplate_spec::event::Outcome;
use bedplate_spec::host::HostFile;

use super::diff::{self, Action, Observed};
use super::error::BackupError;
use super::record;
use super::run;
use crate::context::Context;
use crate::kind::{Description, Kind, Resource};
use crate::report::Reporter;

/// All backups.
pub struct Backups;

impl Kind for Backups {
    type Observed = Observed;
    type Action = Action;
    type Error = BackupError;

    const NAME: &'static str = "backup";
    const ADVICE: &'static str = "see what it names (stick plugged in, pools mounted), then run `bedplate-host backup run NAME`";

    fn observe(&self, context: &Context) -> Result<Observed, BackupError> {
        let now = record::now();
        let mut observed = Observed { mounts: context.mounts.clone(), now, ..Observed::default() };
        for (name, backup) in &context.intent.backups {
            let record = record::read(&context.state, name, &backup.repository)?;
            observed.records.insert(name.clone(), record);
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
        reporter: &mut Reporter<'_>,
    ) -> Result<Outcome, BackupError> {
        let Action::Run { backup } = action;
        let summary = run::run(context, backup)?;
        reporter.bytes(summary.data_added, None, "added");
        Ok(Outcome::Done)
    }
}
