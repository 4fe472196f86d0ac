//! The drill: what was backed up is restored beside the data, and compared by hash.
//!
//! It is compared with the snapshot that the backup was made of, which stays on the pool until the
//! next one: the data itself has gone on meanwhile.

use std::path::{Path, PathBuf};

use bedplate_tools::btrfs;
use bedplate_tools::restic::{Restic, Snapshot};

use super::compare::{self, Compared};
use super::error::BackupError;
use super::session::Session;
use super::{record, source};

/// What is restored stands in this subvolume at the top of a pool, and only while it is compared.
const SCRATCH: &str = ".bedplate-drill";

/// A drill that found everything equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// restic's id.
    pub snapshot: String,
    /// How much was compared.
    pub found: Compared,
}

/// Restores the newest backup and compares it.
pub fn drill(session: &Session<'_>, restic: &Restic<'_>) -> Result<Drilled, BackupError> {
    let record = record::read(&session.context.state, session.name, &session.backup.repository)?;
    let nothing = || BackupError::NothingToCompare(session.name.to_owned());
    let snapshot = session.snapshot(restic, Some(&record.local.ok_or_else(nothing)?))?;
    let wanted = session.wanted()?;
    let pool = wanted.first().map(|one| one.mount.clone()).ok_or_else(nothing)?;
    expect_room(&pool, &snapshot)?;
    let scratch = pool.join(format!("{SCRATCH}-{}", session.name));
    // A drill that was cut off leaves its subvolume.
    remove(&scratch)?;
    btrfs::create_subvolume(&scratch)?;
    let compared = restore_and_compare(session, restic, &snapshot, &scratch);
    let removed = remove(&scratch);
    let found = compared?;
    removed?;
    if found.differences > 0 {
        let first = found.first.join(", ");
        return Err(BackupError::Differs(format!("{} differences: {first}", found.differences)));
    }
    Ok(Drilled { snapshot: snapshot.id, found })
}

fn restore_and_compare(
    session: &Session<'_>,
    restic: &Restic<'_>,
    snapshot: &Snapshot,
    scratch: &Path,
) -> Result<Compared, BackupError> {
    restic.restore(&snapshot.id, scratch, &[])?;
    let mut found = Compared::default();
    let sources = source::sources(session.name, &session.wanted()?)?;
    for source in &sources {
        let restored = below(scratch, &source.path);
        let elsewhere = source.elsewhere(&sources);
        compare::compare_without(&source.content, &restored, &elsewhere, &mut found)?;
    }
    Ok(found)
}

/// Where an absolute path of the machine stands below `directory`.
pub(crate) fn below(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path.strip_prefix("/").unwrap_or(path))
}

/// A pool must not be filled (T40): a tenth of it is left.
pub(crate) fn expect_room(place: &Path, snapshot: &Snapshot) -> Result<(), BackupError> {
    let failed = |errno: rustix::io::Errno| BackupError::File {
        path: place.to_owned(),
        source: errno.into(),
    };
    let found = rustix::fs::statvfs(place).map_err(failed)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let reserve = found.f_blocks.saturating_mul(found.f_frsize) / 10;
    let needed = snapshot.summary.map_or(0, |size| size.total_bytes_processed);
    if needed.saturating_add(reserve) > free {
        let free = free.saturating_sub(reserve);
        return Err(BackupError::Full { place: place.to_owned(), free, needed });
    }
    Ok(())
}

fn remove(scratch: &Path) -> Result<(), BackupError> {
    if scratch.symlink_metadata().is_ok() {
        btrfs::delete_subvolume(scratch)?;
    }
    Ok(())
}
