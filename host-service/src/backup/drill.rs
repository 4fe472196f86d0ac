//! The drill: what was backed up is restored beside the data, and compared by hash.
//!
//! It is compared with the snapshot that the backup was made of, which stays on the pool until the
//! next one: the data itself has gone on meanwhile.

use bedplate_disks::pool_fs::PoolFileSystem;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bedplate_tools::restic::{Restic, Snapshot};

use super::choice::Choice;
use super::compare::{self, Compared};
use super::error::BackupError;
use super::record;
use super::room::{self, Room};
use super::session::Session;
use super::source::{self, Wanted, Which};

/// What is restored stands in this subvolume at the top of each pool, with the name of the backup at its
/// end, and only while it is compared.
pub(super) const SCRATCH: &str = ".bedplate-drill-";

/// A drill that found everything equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// restic's id.
    pub snapshot: String,
    /// How much was compared.
    pub found: Compared,
}

/// Restores the newest backup and compares it, each pool's part on that pool.
pub fn drill(
    session: &Session<'_>,
    restic: &Restic<'_>,
    room: Room,
) -> Result<Drilled, BackupError> {
    let record = record::read(&session.context.state, session.name, &session.backup.repository)?;
    let local = record.local.ok_or_else(|| BackupError::NothingToCompare(session.name.to_owned()));
    let Choice { snapshot, .. } = session.snapshot(restic, Some(&local?))?;
    let wanted = session.wanted()?;
    let paths: Vec<PathBuf> = wanted.iter().map(|one| one.path.clone()).collect();
    let held = room::look(restic, &snapshot, &paths, &|path| mount_of(&wanted, path))?;
    let scratches = scratches(session.name, &wanted);
    // A drill that was cut off leaves its subvolumes, and the room that they take is no less room.
    remove_all(&scratches)?;
    for (mount, scratch) in scratches.iter().filter(|_| room == Room::Asked) {
        scratch.file_system.settle(mount)?;
    }
    room::expect(&held, room)?;
    let compared = restore_and_compare(session, restic, &snapshot, &scratches, &wanted);
    let removed = remove_all(&scratches);
    let found = compared?;
    removed?;
    if found.differences > 0 {
        let first = found.first.join(", ");
        return Err(BackupError::Differs(format!("{} differences: {first}", found.differences)));
    }
    Ok(Drilled { snapshot: snapshot.id, found })
}

/// The part of a pool that a drill restores into.
struct Scratch {
    path: PathBuf,
    file_system: &'static dyn PoolFileSystem,
}

/// One on each pool, by the pool's mount.
fn scratches(name: &str, wanted: &[Wanted]) -> BTreeMap<PathBuf, Scratch> {
    let scratch = |one: &Wanted| {
        let path = one.mount.join(format!("{SCRATCH}{name}"));
        (one.mount.clone(), Scratch { path, file_system: one.pool_fs() })
    };
    wanted.iter().map(scratch).collect()
}

/// The pool to whose part a path in the snapshot belongs: that of the innermost path it is in.
pub(crate) fn mount_of(wanted: &[Wanted], path: &Path) -> PathBuf {
    let inside = wanted.iter().filter(|one| path.starts_with(&one.path));
    let innermost = inside.max_by_key(|one| one.path.components().count()).or(wanted.first());
    innermost.map(|one| one.mount.clone()).unwrap_or_default()
}

fn restore_and_compare(
    session: &Session<'_>,
    restic: &Restic<'_>,
    snapshot: &Snapshot,
    scratches: &BTreeMap<PathBuf, Scratch>,
    wanted: &[Wanted],
) -> Result<Compared, BackupError> {
    for (mount, scratch) in scratches {
        scratch.file_system.create_part(&scratch.path)?;
        let here = wanted.iter().filter(|one| one.mount == *mount);
        let paths: Vec<PathBuf> = here.map(|one| one.path.clone()).collect();
        restic.restore(&snapshot.id, &scratch.path, &paths)?;
    }
    let mut found = Compared::default();
    let sources = source::sources(session.name, wanted, Which::Kept)?;
    for (source, one) in sources.iter().zip(wanted) {
        let Some(scratch) = scratches.get(&one.mount) else { continue };
        let restored = below(&scratch.path, &source.path);
        let elsewhere = source.elsewhere(&sources);
        compare::compare_without(&source.content, &restored, &elsewhere, &mut found)?;
    }
    Ok(found)
}

/// Where an absolute path of the machine stands below `directory`.
pub(crate) fn below(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path.strip_prefix("/").unwrap_or(path))
}

fn remove_all(scratches: &BTreeMap<PathBuf, Scratch>) -> Result<(), BackupError> {
    for scratch in scratches.values() {
        if scratch.path.symlink_metadata().is_ok() {
            scratch.file_system.delete_part(&scratch.path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t40_each_pool_holds_its_own_part_of_a_drill() {
        let want = |path: &str, mount: &str| Wanted {
            path: path.into(),
            mount: mount.into(),
            file_system: Default::default(),
        };
        let wanted = [
            want("/mnt/bulk/apps", "/mnt/bulk"),
            want("/mnt/vmstore/haos", "/mnt/vmstore"),
            want("/mnt/bulk/photos", "/mnt/bulk"),
        ];
        let found: Vec<_> = scratches("apps", &wanted).into_values().map(|one| one.path).collect();
        let at = |text: &str| PathBuf::from(text);
        assert_eq!(
            found,
            [at("/mnt/bulk/.bedplate-drill-apps"), at("/mnt/vmstore/.bedplate-drill-apps")]
        );
        assert_eq!(mount_of(&wanted, Path::new("/mnt/bulk/photos/one")), at("/mnt/bulk"));
        assert_eq!(mount_of(&wanted, Path::new("/mnt/vmstore/haos/disk")), at("/mnt/vmstore"));
        // A directory above all paths.
        assert_eq!(mount_of(&wanted, Path::new("/mnt")), at("/mnt/bulk"));
    }
}
