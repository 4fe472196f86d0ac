//! Does what was decided about restores.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_events::Outcome;
use bedplate_model::host::HostFile;
use bedplate_tools::restic::{Restic, Snapshot};
use bedplate_tools::sync;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::DIRECTORY;
use super::diff::{self, Action, Observed, Occupied, RestoreState};
use super::record::{self, Record, Stage};
use crate::backup::choice::{self, Choice, NoChoice};
use crate::backup::room::{self, Held, Room};
use crate::backup::session::{Session, wanted};
use crate::backup::source::Wanted;
use crate::backup::{BackupError, drill};
use bedplate_engine::{StepFailure, StepReporter};
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Kind, Resource};
use bedplate_tools::atomic::WriteError;

/// What can go wrong with a restore.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error("the backup could not be used; nothing was put in its place")]
    Backup(#[from] BackupError),
    /// A file or directory.
    #[error("could not read, move or remove {}", .path.display())]
    File {
        /// A path of the backup, where its files wait to be moved there, or the mount of its pool.
        path: PathBuf,
        /// What the kernel said when it was read, made, moved, flushed or removed.
        #[source]
        source: io::Error,
    },
    /// A record that says nothing.
    #[error(
        "the record {} is damaged, and how far the restore is is not known; see that the paths of the \
         backup are whole, or empty (what has not been moved to its place yet lies in {}), then \
         move the record away: what holds data is left alone from then on, what is empty is fetched",
        .path.display(),
        .path.with_extension("").display()
    )]
    Damaged {
        /// Path of the record, `.bedplate-restore/NAME.json` on the pool.
        path: PathBuf,
        /// Where the text stops being the record of a restore, and how.
        #[source]
        source: serde_json::Error,
    },
    /// The record.
    #[error("the record of the restore could not be written")]
    Write(#[from] WriteError),
    /// Something came in between.
    #[error("{} is there already; nothing is restored over it", .0.display())]
    Occupied(PathBuf),
    /// The world moved.
    #[error("there is nothing to restore of `{0}`")]
    Nothing(String),
}

impl StepFailure for RestoreError {}

/// All restores of `host.toml`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restores {
    /// Whether room is asked for before one is begun.
    pub room: Room,
}

impl Kind for Restores {
    type Observed = Observed;
    type Action = Action;
    type Error = RestoreError;

    const NAME: &'static str = "restore";
    const ADVICE: &'static str = "machines, exports and backups of these paths wait for it; see what it names (stick plugged in, repository reached, room), then run `bedplate-host converge` again";

    fn observe(&self, context: &Context) -> Result<Observed, RestoreError> {
        let names = context.intent.restore.iter().flat_map(|restore| &restore.backups);
        Ok(names.map(|name| (name.clone(), find(context, name))).collect())
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff::diff(intent, observed)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        of_step: &StepReporter<'_>,
    ) -> Result<Outcome, RestoreError> {
        match action {
            Action::Fetch { backup, paths } => {
                let session = Session::open(context, backup)?;
                fetch(&session, paths, self.room, of_step)?;
            }
            Action::Move { backup } => put_in_place(&places(context, backup)?, backup)?,
        }
        Ok(Outcome::Done)
    }
}

/// What is left to do of one restore, or why that cannot be said; none when it is done, or when
/// there is nothing to do.
pub(super) fn left(context: &Context, name: &str) -> Option<String> {
    let found = diff::resource(name, &find(context, name));
    let actions = found.actions.iter().map(ToString::to_string).collect::<Vec<_>>();
    found
        .refused
        .or_else(|| (!actions.is_empty()).then(|| format!("to do: {}", actions.join("; "))))
}

fn places(context: &Context, name: &str) -> Result<Vec<Wanted>, RestoreError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    Ok(wanted(context, backup)?)
}

fn first_mount<'a>(places: &'a [Wanted], name: &str) -> Result<&'a Path, RestoreError> {
    let first = places.first().map(|place| place.mount.as_path());
    first.ok_or_else(|| RestoreError::Nothing(name.to_owned()))
}

/// What cannot be looked at of one restore hides no other.
fn find(context: &Context, name: &str) -> RestoreState {
    look(context, name).map_err(|error| match error {
        RestoreError::Backup(BackupError::Pool(why)) => why,
        error => in_line(&error),
    })
}

fn look(context: &Context, name: &str) -> Result<(Option<Record>, Vec<Occupied>), RestoreError> {
    let places = places(context, name)?;
    let record = record::read(first_mount(&places, name)?, name)?;
    let paths = places.iter().map(|place| {
        let occupied = !existing(&place.path, &place.mount)?.is_empty();
        Ok(Occupied { path: place.path.clone(), occupied })
    });
    Ok((record, paths.collect::<Result<_, RestoreError>>()?))
}

/// What is at `path`, itself or inside it; at the top of a pool our own directories do not count.
fn existing(path: &Path, mount: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let failed = |source| RestoreError::File { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
        Ok(found) if !found.is_dir() => return Ok(vec![path.to_owned()]),
        Ok(_) => {}
    }
    let entries = fs::read_dir(path).map_err(failed)?.collect::<io::Result<Vec<_>>>();
    let entries = entries.map_err(failed)?.into_iter().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.parent() == Some(mount) && name.starts_with(".bedplate-")
    };
    Ok(entries.filter(|entry| !is_ours(entry)).collect())
}

pub(crate) fn fetch(
    session: &Session<'_>,
    paths: &[PathBuf],
    room: Room,
    of_step: &StepReporter<'_>,
) -> Result<(), RestoreError> {
    let Session { context, name, .. } = *session;
    let places = places(context, name)?;
    let mount = first_mount(&places, name)?;
    let restic = session.expect()?;
    let begun = record::read(mount, name)?.map(|record| record.snapshot);
    let named = context.intent.restore.as_ref().and_then(|restore| restore.snapshot.as_deref());
    let found = restic.snapshots(session.host(), &session.tag()).map_err(BackupError::from)?;
    let picked = pick(&found, begun.as_deref(), named).map_err(BackupError::from)?;
    let Choice { snapshot, note } = picked.choice;
    note.into_iter().for_each(|note| of_step.warn(note));
    let chosen: Vec<Wanted> =
        places.iter().filter(|place| paths.contains(&place.path)).cloned().collect();
    if !picked.goes_on {
        let held = look_into(&restic, &snapshot, &chosen)?;
        // Of another snapshot: the two must not be mixed, and what it takes is room for this one. Nothing
        // of it has its place yet.
        remove_staging(&places, name)?;
        room::expect(&held, room)?;
    }
    let mut record = Record {
        schema: 1,
        snapshot: snapshot.id.clone(),
        paths: paths.to_vec(),
        stage: Stage::Fetching,
        incomplete: !snapshot.is_complete(),
    };
    record::write(mount, name, &record)?;
    for place in &chosen {
        let staging = staging(place, name);
        fs::create_dir_all(&staging)
            .map_err(|source| RestoreError::File { path: staging.clone(), source })?;
        restic
            .restore(&snapshot.id, &staging, std::slice::from_ref(&place.path))
            .map_err(BackupError::from)?;
        if drill::below(&staging, &place.path).symlink_metadata().is_err() {
            let paths = vec![place.path.clone()];
            return Err(BackupError::NotInSnapshot { snapshot: snapshot.id, paths }.into());
        }
    }
    // The record must not outlive, in a power cut, what it says is there.
    flush(&places)?;
    record.stage = Stage::Moving;
    record::write(mount, name, &record)
}

/// The snapshot of a restore.
#[derive(Debug, PartialEq, Eq)]
struct Picked {
    choice: Choice,
    /// Whether it is the one of which some has come already.
    goes_on: bool,
}

/// Goes on with the snapshot that was begun, unless it is gone, or is not the one that is meant: the
/// one that its owner names since, or one that is complete. While files come nothing has its place, so
/// that another one can be begun: a restore that failed blocks none.
fn pick(found: &[Snapshot], begun: Option<&str>, named: Option<&str>) -> Result<Picked, NoChoice> {
    let is_meant = |choice: &Choice| match named {
        Some(named) => choice.snapshot.is_called(named),
        None => choice.snapshot.is_complete(),
    };
    let begun = begun.and_then(|begun| choice::choose(found, Some(begun)).ok()).filter(is_meant);
    match begun {
        Some(choice) => Ok(Picked { choice, goes_on: true }),
        None => Ok(Picked { choice: choice::choose(found, named)?, goes_on: false }),
    }
}

/// Before anything is noted or written: what the snapshot holds of it, which must be all.
fn look_into(
    restic: &Restic<'_>,
    snapshot: &Snapshot,
    chosen: &[Wanted],
) -> Result<Held, BackupError> {
    let paths: Vec<PathBuf> = chosen.iter().map(|place| place.path.clone()).collect();
    let held = room::look(restic, snapshot, &paths, &|path| drill::mount_of(chosen, path))?;
    let missing = held.missing(&paths);
    if !missing.is_empty() {
        return Err(BackupError::NotInSnapshot { snapshot: snapshot.id.clone(), paths: missing });
    }
    Ok(held)
}

/// Has everything on the pools of these paths on disk.
fn flush(places: &[Wanted]) -> Result<(), RestoreError> {
    let mounts: BTreeSet<&Path> = places.iter().map(|place| place.mount.as_path()).collect();
    mounts.into_iter().try_for_each(|mount| {
        let failed = |source| RestoreError::File { path: mount.to_owned(), source };
        sync::file_system(mount).map_err(failed)
    })
}

fn staging(place: &Wanted, name: &str) -> PathBuf {
    place.mount.join(DIRECTORY).join(name)
}

/// Moves what stands in staging to its place. What is no longer there has been moved.
fn put_in_place(places: &[Wanted], name: &str) -> Result<(), RestoreError> {
    let mount = first_mount(places, name)?;
    let record = record::read(mount, name)?;
    let mut record = record.ok_or_else(|| RestoreError::Nothing(name.to_owned()))?;
    let mut chosen: Vec<_> =
        places.iter().filter(|place| record.paths.contains(&place.path)).collect();
    // A path inside another comes with it: before it, it would be in its place.
    chosen.sort_by(|one, other| one.path.cmp(&other.path));
    for place in chosen {
        let staged = drill::below(&staging(place, name), &place.path);
        if place.path == place.mount {
            // A mount point cannot be replaced: what is in it can.
            for entry in existing(&staged, &staged)? {
                let target = place.path.join(entry.file_name().unwrap_or_default());
                move_new(&entry, &target)?;
            }
        } else if staged.symlink_metadata().is_ok() {
            move_new(&staged, &place.path)?;
        }
    }
    // As before: a restore that is done is never looked at again.
    flush(places)?;
    record.stage = Stage::Done;
    record::write(mount, name, &record)?;
    remove_staging(places, name)
}

fn remove_staging(places: &[Wanted], name: &str) -> Result<(), RestoreError> {
    for place in places {
        let staging = staging(place, name);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| RestoreError::File { path: staging, source })?,
        }
    }
    Ok(())
}

/// Renames to a name that is free, or an empty directory's.
fn move_new(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let failed = |source: io::Error| RestoreError::File { path: to.to_owned(), source };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    if fs::symlink_metadata(to).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir(to).map_err(|_| RestoreError::Occupied(to.to_owned()))?;
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(RestoreError::Occupied(to.to_owned())),
        Err(errno) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests;
