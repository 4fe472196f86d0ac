//! Snapshots on the pools of backups that `host.toml` names no longer, or not for that pool: renamed,
//! taken out, or moved. Nobody would ever delete them, and what is overwritten takes room twice.

use bedplate_disks::pool_fs::{self, PoolFileSystem};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_events::Outcome;
use bedplate_events::shown::shown;
use bedplate_model::host::HostFile;
use serde::Serialize;

use super::error::BackupError;
use super::source::{self, DIRECTORY, SourceError};
use super::{drill, session};
use crate::restore;
use bedplate_engine::StepReporter;
use bedplate_model::name::PoolName;
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Description, Kind, Resource};

/// What is left of backups that are gone.
pub struct Leftovers;

/// Directories of snapshots, and subvolumes of drills, by the name of their backup.
pub type Observed = BTreeMap<String, BTreeSet<PathBuf>>;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Delete what is left of one backup.
    Remove {
        /// Its name.
        backup: String,
        /// What is deleted.
        places: BTreeSet<PathBuf>,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Remove { places, .. } = self;
        let places: Vec<_> = places.iter().map(|place| shown(&place.to_string_lossy())).collect();
        write!(formatter, "delete the snapshots in {}", places.join(", "))
    }
}

impl Kind for Leftovers {
    type Observed = Observed;
    type Action = Action;
    type Error = BackupError;

    const NAME: &'static str = "snapshot";
    const SLOW: bool = true;
    const ADVICE: &'static str =
        "see what it names; nothing but the room they take depends on these snapshots";

    fn observe(&self, context: &Context) -> Result<Observed, BackupError> {
        // Until then backups are held back, and are as if they were not named.
        if restore::is_pending(context) {
            return Ok(Observed::new());
        }
        let mut found = Observed::new();
        for (pool, mount) in mounted(context) {
            let used = used(&context.intent, pool);
            for (name, place) in on_pool(mount)? {
                if !used.contains(name.as_str()) {
                    found.entry(name).or_default().insert(place);
                }
            }
        }
        Ok(found)
    }

    fn diff(_: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        let resource = |(name, places): (&String, &BTreeSet<PathBuf>)| {
            let remove = Action::Remove { backup: name.clone(), places: places.clone() };
            Resource::new(&shown(name), vec![remove])
        };
        observed.iter().map(resource).collect()
    }

    fn describe(_: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        let (_, places) = observed.iter().find(|(one, _)| shown(one) == name)?;
        let intent = "no backup of this name has paths there".to_owned();
        let places: Vec<_> = places.iter().map(|place| shown(&place.to_string_lossy())).collect();
        Some(Description { intent, reality: format!("its snapshots are in {}", places.join(", ")) })
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        _: &StepReporter<'_>,
    ) -> Result<Outcome, BackupError> {
        let Action::Remove { backup, places } = action;
        // A run that began under the old name is waited for.
        let _alone = session::alone(context, backup)?;
        for place in places {
            remove(pool_fs::of(session::file_system(&context.intent, place)), place)?;
        }
        Ok(Outcome::Done)
    }
}

/// Pools that are mounted, with their mounts.
fn mounted(context: &Context) -> impl Iterator<Item = (&str, &Path)> {
    let pools = context.intent.pools.keys().map(PoolName::as_str);
    pools.filter_map(|pool| Some((pool, Path::new(context.pool_mount(pool).ok()?))))
}

/// The backups that have a path on `pool`, whether or not it is mounted.
fn used<'a>(intent: &'a HostFile, pool: &str) -> BTreeSet<&'a str> {
    let is_there =
        |path: &String| session::pool_of(intent, Path::new(path)).is_none_or(|one| one == pool);
    let backups = intent.backups.iter().filter(|(_, backup)| backup.paths.iter().any(is_there));
    backups.map(|(name, _)| name.as_str()).collect()
}

/// What backups left on the pool at `mount`, with their names. What is no directory is not ours.
fn on_pool(mount: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let name = |file: &OsStr| file.to_str().map(str::to_owned);
    let snapshots = source::entries(&mount.join(DIRECTORY))?.into_iter();
    let snapshots = snapshots.filter_map(|path| Some((name(path.file_name()?)?, path)));
    let drills = source::entries(mount)?.into_iter().filter_map(|path| {
        let file = name(path.file_name()?)?;
        Some((file.strip_prefix(drill::SCRATCH)?.to_owned(), path))
    });
    let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    Ok(snapshots.chain(drills).filter(|(_, path)| is_directory(path)).collect())
}

/// Deletes the subvolumes in a directory, and the directory when it is empty then; or the subvolume of
/// a drill. Nothing is deleted that is neither.
fn remove(file_system: &dyn PoolFileSystem, place: &Path) -> Result<(), BackupError> {
    let is_drill = |name: &OsStr| name.to_string_lossy().starts_with(drill::SCRATCH);
    if place.file_name().is_some_and(is_drill) {
        return Ok(file_system.delete_part(place)?);
    }
    for snapshot in source::entries(place)? {
        file_system.delete_part(&snapshot)?;
    }
    fs::remove_dir(place).map_err(|source| BackupError::File { path: place.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;
    use bedplate_tools::mounts::Mounts;

    /// The backup `apps` has a path on a pool at `mount` alone.
    fn context(mount: &Path) -> Context {
        let mut intent = sample::intent();
        intent.pools.get_mut("bulk").unwrap().mount = mount.display().to_string();
        intent.backups.get_mut("apps").unwrap().paths = vec![format!("{}/apps", mount.display())];
        let mounts = format!("1 1 0:1 / {} rw - btrfs a rw\n", mount.display());
        Context {
            intent,
            mounts: Mounts::parse(&mounts),
            configuration: mount.join(".bedplate-etc"),
            runtime: mount.join(".bedplate-run"),
            state: mount.join(".bedplate-state"),
        }
    }

    #[test]
    fn snapshots_of_a_backup_that_was_renamed_are_named_and_go_and_no_others() {
        let pool = tempfile::tempdir().unwrap();
        let mut context = context(pool.path());
        let snapshots = pool.path().join(DIRECTORY);
        fs::create_dir_all(snapshots.join("apps/0a")).unwrap();
        fs::create_dir_all(snapshots.join("old")).unwrap();
        fs::create_dir_all(pool.path().join(".bedplate-drill-old")).unwrap();
        fs::write(snapshots.join("note"), "no directory").unwrap();
        std::os::unix::fs::symlink("/etc", snapshots.join("link")).unwrap();
        let look = |context: &Context| {
            let observed = Leftovers.observe(context).unwrap();
            let found = Leftovers::diff(&context.intent, &observed);
            found.into_iter().map(|one| (one.name, one.actions)).collect::<Vec<_>>()
        };
        let found = look(&context);
        assert_eq!(found.len(), 1, "{found:?}");
        let (name, actions) = &found[0];
        assert_eq!(name, "old");
        let text = actions[0].to_string();
        assert!(text.contains("snapshots/old") && text.contains("drill-old"), "{text}");

        // Its paths are on another pool now.
        context.intent.backups.get_mut("apps").unwrap().paths = vec!["/mnt/vmstore/haos".into()];
        let names: Vec<String> = look(&context).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["apps", "old"]);

        // While something is to come back, what is held back is not taken for gone.
        let backups = vec!["apps".to_owned()];
        context.intent.restore = Some(bedplate_model::host::Restore { backups, snapshot: None });
        let held = restore::held_back(&context.intent, &["apps".into()]);
        assert!(look(&Context { intent: held, ..context }).is_empty());
    }

    #[test]
    fn a_directory_that_holds_none_goes_and_what_is_no_subvolume_stays() {
        let pool = tempfile::tempdir().unwrap();
        let empty = pool.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let file_system = pool_fs::of(Default::default());
        remove(file_system, &empty).unwrap();
        assert!(!empty.exists());
        let mine = pool.path().join("mine");
        fs::create_dir_all(mine.join("data")).unwrap();
        assert!(remove(file_system, &mine).is_err() && mine.join("data").exists());
    }
}
