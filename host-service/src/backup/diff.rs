//! Which backups want a first run.

use std::collections::BTreeMap;
use std::fmt;

use bedplate_model::host::{Backup, HostFile};
use serde::Serialize;

use super::record::Record;
use super::{fresh, schedule};
use bedplate_resources::context::pool_mount;
use bedplate_resources::kind::{Description, Resource};
use bedplate_tools::mounts::Mounts;

/// What is known of backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// What is mounted: a backup waits for the pools of its paths.
    pub mounts: Mounts,
    /// Records by name, or why one cannot be read.
    pub records: BTreeMap<String, Result<Record, String>>,
    /// What is wrong with their schedules, by name.
    pub schedules: BTreeMap<String, schedule::ScheduleFaults>,
    /// Seconds since 1970.
    pub now: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make the first backup.
    Run {
        /// Name of the backup in host.toml.
        backup: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Run { backup } = self;
        write!(formatter, "run the backup {backup} for the first time")
    }
}

/// A backup that never succeeded runs now; later runs are its timer's.
pub fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    intent.backups.iter().map(|(name, backup)| resource(intent, observed, name, backup)).collect()
}

fn resource(
    intent: &HostFile,
    observed: &Observed,
    name: &str,
    backup: &Backup,
) -> Resource<Action> {
    let mount =
        backup.repository_pool.as_ref().map(|pool| pool_mount(intent, &observed.mounts, pool));
    let record = observed.records.get(name).map(Result::as_ref).transpose();
    let schedules = observed.schedules.get(name).map(Result::as_ref).transpose();
    let wants = record.ok().flatten().map(|record| wants(backup, record, observed.now));
    let refused: Vec<String> = mount
        .and_then(Result::err)
        .into_iter()
        .chain(record.err().cloned())
        .chain(schedules.ok().flatten().into_iter().flatten().cloned())
        .collect();
    let succeeded = record.is_ok_and(|record| record.is_some_and(|one| one.last_success.is_some()));
    let first = refused.is_empty() && !succeeded;
    let kept = record.as_ref().ok().copied().flatten().and_then(|record| record.kept.clone());
    Resource {
        name: name.to_owned(),
        actions: first.then(|| Action::Run { backup: name.to_owned() }).into_iter().collect(),
        refused: (!refused.is_empty()).then(|| refused.join("; ")),
        notes: schedules.err().cloned().into_iter().chain(kept).collect(),
        wants: wants.unwrap_or_default(),
    }
}

/// What is wanted of a backup, and when it last ended well.
pub fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
    let backup = intent.backups.get(name)?;
    let record = observed.records.get(name).map(Result::as_ref).transpose();
    let success = record.map(|record| record.and_then(|record| record.last_success.as_ref()));
    let reality = match success {
        Err(_) => "not known".to_owned(),
        Ok(Some(success)) => {
            let ago = fresh::age(observed.now.saturating_sub(success.at));
            match &success.snapshot {
                Some(snapshot) => format!("snapshot {snapshot}, {ago} ago"),
                None => format!("ended well {ago} ago"),
            }
        }
        Ok(None) => "never ended well".to_owned(),
    };
    let intent =
        format!("{} into {}, {}", backup.paths.join(", "), backup.repository, backup.schedule);
    Some(Description { intent, reality })
}

/// What is wrong with a backup that has run, in lines. Converge runs none a second time: its timers
/// do, or somebody sees why they fail.
pub fn wants(backup: &Backup, record: &Record, now: u64) -> Vec<String> {
    let run = record.last.as_ref().and_then(|last| last.failure.as_ref());
    let run = run.map(|why| format!("the newest run failed: {why}"));
    let tasks = record.tasks.iter().filter_map(|(task, attempt)| {
        Some(format!("the newest {task} failed: {}", attempt.failure.as_ref()?))
    });
    run.into_iter().chain(tasks).chain(fresh::stale(backup, record, now)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::Attempt;
    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn a_backup_is_described_by_where_it_goes_and_when_it_last_went_well() {
        let intent = sample::intent();
        let mut observed = Observed { now: 1_000_000, ..Observed::default() };
        let described = |observed: &Observed| describe(&intent, observed, "apps").unwrap();
        assert_eq!(described(&observed).reality, "never ended well");
        let success = Attempt {
            at: 1_000_000 - 2 * 3600,
            snapshot: Some("4bba301e".into()),
            added: 7,
            failure: None,
        };
        let record = Record { last_success: Some(success), ..Record::default() };
        observed.records.insert("apps".into(), Ok(record));
        insta::assert_debug_snapshot!(described(&observed));
        assert!(describe(&intent, &observed, "other").is_none());
    }

    #[test]
    fn a_backup_that_is_too_old_or_whose_check_failed_is_not_as_intended() {
        let intent = sample::intent();
        let attempt = |failure: Option<&str>| Attempt {
            at: 1_000_000,
            snapshot: None,
            added: 0,
            failure: failure.map(str::to_owned),
        };
        let mut record = Record { last_success: Some(attempt(None)), ..Record::default() };
        let wants = |record: &Record, now: u64| {
            let records = BTreeMap::from([("apps".to_owned(), Ok(record.clone()))]);
            let mounts = sample::mounts();
            let mut found =
                diff(&intent, &Observed { mounts, records, now, ..Observed::default() });
            found.remove(0).wants
        };
        assert!(wants(&record, 1_000_000 + 3600).is_empty());
        assert_eq!(wants(&record, 1_000_000 + 72 * 3600), ["the newest is 3 days old"]);
        record.tasks.insert(super::super::record::Task::Check, attempt(Some("no")));
        assert_eq!(wants(&record, 1_000_000 + 3600), ["the newest check failed: no"]);
    }

    #[test]
    fn a_mistyped_schedule_is_an_error_of_that_backup_alone() {
        let mut intent = sample::intent();
        let other = intent.backups["apps"].clone();
        intent.backups.insert("other".into(), other);
        let wrong = "`backups.apps.drill` of host.toml, \"mounthly\", is no time".to_owned();
        let unknown = Err("systemd-analyze is not installed".to_owned());
        let schedules =
            [("apps".to_owned(), Ok(vec![wrong.clone()])), ("other".to_owned(), unknown)].into();
        let observed = Observed { mounts: sample::mounts(), schedules, ..Observed::default() };
        let found = diff(&intent, &observed);
        assert_eq!(found[0].refused.as_deref(), Some(wrong.as_str()));
        assert!(found[0].actions.is_empty());
        assert!(found[1].refused.is_none() && found[1].actions.len() == 1);
        assert!(found[1].notes[0].contains("not installed"));
        // One that is to run says all that keeps it from running.
        let unmounted = diff(&intent, &Observed { mounts: Mounts::default(), ..observed });
        let told = unmounted[0].refused.as_deref().unwrap();
        assert!(told.contains("not mounted") && told.ends_with(&wrong), "{told}");
    }
}
