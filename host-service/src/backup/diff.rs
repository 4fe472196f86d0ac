//! Which backups want a first run.

use std::collections::BTreeMap;
use std::fmt;

use bedplate_spec::host::HostFile;
use serde::Serialize;

use super::record::Record;
use crate::context::pool_mount;
use crate::kind::Resource;
use crate::mounts::Mounts;

/// What is known of backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Mounts.
    pub mounts: Mounts,
    /// Records by name.
    pub records: BTreeMap<String, Record>,
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
            let failure = record.and_then(|record| record.last.as_ref()?.failure.as_ref());
            let first = (!succeeded).then(|| Action::Run { backup: name.clone() });
            let notes = failure.map(|why| format!("the newest run failed: {why}"));
            Resource {
                notes: notes.into_iter().collect(),
                ..Resource::new(name, first.into_iter().collect())
            }
        })
        .collect()
}
