//! Bringing files of a backup back into a directory that somebody names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::drill;
use super::error::BackupError;
use super::session::Session;
use crate::context::Context;

/// What is wanted back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Name of the backup.
    pub name: &'a str,
    /// restic's id, or the start of it; the newest otherwise.
    pub snapshot: Option<&'a str>,
    /// Paths as they were on the machine; all when none is named.
    pub paths: &'a [PathBuf],
    /// A directory that is made for it, inside a pool.
    pub to: &'a Path,
}

/// Restores into a new directory. Returns the id of the snapshot.
pub fn retrieve(context: &Context, request: &Request<'_>) -> Result<String, BackupError> {
    let to = request.to;
    let place = |what| BackupError::Place { path: to.to_owned(), what };
    let pools = context.intent.pools.iter();
    let pool = pools.filter(|(_, pool)| to.starts_with(&pool.mount)).map(|(name, _)| name).next();
    let pool = pool.ok_or_else(|| place("in no pool: the disk of the system is not for data"))?;
    let mount = PathBuf::from(context.pool_mount(pool).map_err(BackupError::Pool)?);
    let session = Session::open(context, request.name)?;
    let restic = session.expect()?;
    let snapshot = session.snapshot(&restic, request.snapshot)?;
    drill::expect_room(&mount, &snapshot)?;
    // Made, never used as it is: nothing is restored over what is there.
    match fs::create_dir(to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(place("there already; name a directory that is not"));
        }
        Err(source) => return Err(BackupError::File { path: to.to_owned(), source }),
    }
    restic.restore(&snapshot.id, to, request.paths)?;
    let back = |path: &PathBuf| drill::below(to, path).symlink_metadata().is_ok();
    if !request.paths.iter().all(back) {
        return Err(BackupError::NotInSnapshot(snapshot.id));
    }
    Ok(snapshot.id)
}
