//! Which backups want a first run.

use std::collections::BTreeMap;
use std::fmt;

use bedplate_spec::host::{Backup, HostFile};
use serde::Serialize;

use super::fresh;
use super::record::Record;
use crate::context::pool_mount;
use crate::kind::{Description, Resource};
use crate::mounts::Mounts;

/// What is known of backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Mounts.
    pub mounts: Mounts,
    /// Records by name.
    pub records: BTreeMap<String, Record>,
    /// Seconds since 1970.
    pub now: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make the first backup.
    Run {
        /// Name.
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
    let backups = intent.backups.iter();
    backups
        .map(|(name, backup)| {
            if let Some(Err(why)) = backup
                .repository_pool
                .as_ref()
                .map(|pool| pool_mount(intent, &observed.mounts, pool))
            {
                return Resource::refused(name, why);
            }
            let record = observed.records.get(name);
            let succeeded = record.is_some_and(|record| record.last_success.is_some());
            let first = (!succeeded).then(|| Action::Run { backup: name.clone() });
            Resource {
                notes: record.map(|record| notes(backup, record, observed.now)).unwrap_or_default(),
                ..Resource::new(name, first.into_iter().collect())
            }
        })
        .collect()
}

/// What is wanted of a backup, and when it last ended well.
pub fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
    let backup = intent.backups.get(name)?;
    let record = observed.records.get(name);
    let reality = match record.and_then(|record| record.last_success.as_ref()) {
        Some(success) => {
            let ago = fresh::age(observed.now.saturating_sub(success.at));
            match &success.snapshot {
                Some(snapshot) => format!("snapshot {snapshot}, {ago} ago"),
                None => format!("ended well {ago} ago"),
            }
        }
        None => "never ended well".to_owned(),
    };
    let intent =
        format!("{} into {}, {}", backup.paths.join(", "), backup.repository, backup.schedule);
    Some(Description { intent, reality })
}

/// What is wrong with a backup that has run, in lines.
pub fn notes(backup: &Backup, record: &Record, now: u64) -> Vec<String> {
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
    use crate::sample;

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
        observed.records.insert("apps".into(), record);
        insta::assert_debug_snapshot!(described(&observed));
        assert!(describe(&intent, &observed, "other").is_none());
    }
}
