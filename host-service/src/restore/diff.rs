//! Which restores are to be done.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bedplate_model::host::HostFile;
use serde::Serialize;

use super::record::{Record, Stage};
use crate::backup::choice;
use bedplate_resources::kind::Resource;

/// What was found of the restores of `host.toml`, by name.
pub type Observed = BTreeMap<String, RestoreState>;

/// What was found of one restore: its record and its paths, or why that cannot be said.
pub type RestoreState = Result<(Option<Record>, Vec<Occupied>), String>;

/// A path of a backup on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// As in `host.toml`.
    pub path: PathBuf,
    /// Whether something is there: an empty directory is nothing.
    pub occupied: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Fetch from the repository.
    Fetch {
        /// Name of the backup.
        backup: String,
        /// Where nothing is.
        paths: Vec<PathBuf>,
    },
    /// Move what was fetched to its places.
    Move {
        /// Name of the backup.
        backup: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch { backup, paths } => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(formatter, "fetch {} from the backup {backup}", paths.join(", "))
            }
            Self::Move { backup } => write!(formatter, "move what came from {backup} to its place"),
        }
    }
}

/// Nothing is restored over anything, and what was begun is finished from the same snapshot.
pub fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    let names = intent.restore.iter().flat_map(|restore| &restore.backups);
    names.filter_map(|name| Some(resource(name, observed.get(name)?))).collect()
}

pub(super) fn resource(name: &str, found: &RestoreState) -> Resource<Action> {
    let (record, paths) = match found {
        Err(why) => return Resource::refused(name, why),
        Ok(found) => found,
    };
    let backup = || name.to_owned();
    let moves = Action::Move { backup: backup() };
    match record {
        Some(Record { stage: Stage::Done, incomplete, snapshot, .. }) => {
            let wants = incomplete.then(|| lacking(name, snapshot)).into_iter().collect();
            Resource { wants, ..Resource::new(name, Vec::new()) }
        }
        Some(Record { stage: Stage::Moving, .. }) => Resource::new(name, vec![moves]),
        Some(Record { stage: Stage::Fetching, paths: chosen, .. }) => {
            let taken = paths.iter().find(|one| one.occupied && chosen.contains(&one.path));
            if let Some(taken) = taken {
                let path = taken.path.display();
                let why = format!(
                    "{path} was to come back, and meanwhile something is there: move it away"
                );
                return Resource::refused(name, why);
            }
            Resource::new(
                name,
                vec![Action::Fetch { backup: backup(), paths: chosen.clone() }, moves],
            )
        }
        None => {
            let of = |occupied| {
                let paths = paths.iter().filter(move |one| one.occupied == occupied);
                paths.map(|one| one.path.clone()).collect::<Vec<_>>()
            };
            let free = of(false);
            let notes = of(true)
                .into_iter()
                .map(|path| format!("{} holds data: nothing is restored there", path.display()));
            let actions = if free.is_empty() {
                Vec::new()
            } else {
                vec![Action::Fetch { backup: backup(), paths: free }, moves]
            };
            Resource { notes: notes.collect(), ..Resource::new(name, actions) }
        }
    }
}

/// Who names an incomplete snapshot has what is in it. All of it is not back.
fn lacking(name: &str, snapshot: &str) -> String {
    let snapshot = choice::short(snapshot);
    format!(
        "what came back is of the snapshot {snapshot}, of a run that could not read everything, or that \
         was cut off: bring what it lacks from an older one (`bedplate-host backup list {name}`, \
         `backup restore`), then take `{name}` out of `[restore]`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_model::host::Restore;
    use bedplate_sample as sample;

    fn planned(found: RestoreState) -> Resource<Action> {
        let mut intent = sample::intent();
        intent.restore = Some(Restore { backups: vec!["apps".into()], snapshot: None });
        diff(&intent, &BTreeMap::from([("apps".to_owned(), found)])).remove(0)
    }

    fn at(path: &str, occupied: bool) -> Occupied {
        Occupied { path: path.into(), occupied }
    }

    fn record(stage: Stage) -> Option<Record> {
        let paths = vec!["/mnt/bulk/a".into()];
        Some(Record { schema: 1, snapshot: "ab".into(), paths, stage, incomplete: false })
    }

    #[test]
    fn nothing_is_restored_over_data() {
        let found = planned(Ok((None, vec![at("/mnt/bulk/a", true), at("/mnt/bulk/b", false)])));
        assert_eq!(
            found.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["fetch /mnt/bulk/b from the backup apps", "move what came from apps to its place"]
        );
        assert_eq!(found.notes, ["/mnt/bulk/a holds data: nothing is restored there"]);
        let found = planned(Ok((None, vec![at("/mnt/bulk/a", true)])));
        assert!(found.actions.is_empty() && found.refused.is_none(), "{found:?}");
    }

    #[test]
    fn t48_what_came_of_an_incomplete_snapshot_is_not_all_that_was_to_come() {
        let done = record(Stage::Done).map(|record| Record { incomplete: true, ..record });
        let found = planned(Ok((done, vec![at("/mnt/bulk/a", true)])));
        assert!(found.wants[0].contains("the snapshot ab, of a run"), "{found:?}");
        // Its owner has named it: what uses it goes on.
        assert!(found.actions.is_empty() && found.refused.is_none());
        assert!(planned(Ok((record(Stage::Done), Vec::new()))).wants.is_empty());
    }

    #[test]
    fn f10_a_restore_that_was_cut_off_goes_on_from_where_it_was() {
        let free = vec![at("/mnt/bulk/a", false), at("/mnt/bulk/b", true)];
        let found = planned(Ok((record(Stage::Fetching), free.clone())));
        assert!(
            matches!(&found.actions[0], Action::Fetch { paths, .. } if paths == &[PathBuf::from("/mnt/bulk/a")])
        );
        let occupied = vec![at("/mnt/bulk/a", true)];
        let found = planned(Ok((record(Stage::Fetching), occupied.clone())));
        assert!(found.refused.unwrap().contains("meanwhile"));
        let found = planned(Ok((record(Stage::Moving), occupied.clone())));
        assert_eq!(found.actions, [Action::Move { backup: "apps".into() }]);
        let found = planned(Ok((record(Stage::Done), free)));
        assert!(found.actions.is_empty() && found.refused.is_none());
        assert!(planned(Err("not mounted".into())).refused.is_some());
    }
}
