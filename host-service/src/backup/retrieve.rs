//! Bringing files of a backup back into a directory that somebody names.
//!
//! They come into a directory beside it, which gets its name when all of them are there: what has the
//! name is whole, and one that was cut off is in nobody's way.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bedplate_tools::restic::Restic;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::choice::Choice;
use super::drill;
use super::error::BackupError;
use super::room::{self, Room};
use super::session::{self, Session};
use bedplate_resources::context::Context;

/// What is wanted back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieval<'a> {
    /// Name of the backup.
    pub name: &'a str,
    /// restic's id, or the start of it; the newest complete one otherwise.
    pub snapshot: Option<&'a str>,
    /// Paths as they were on the machine, which are names and no patterns; all when none is named.
    pub paths: &'a [PathBuf],
    /// A directory that is made for it, inside a pool.
    pub to: &'a Path,
    /// Whether room is asked for first.
    pub room: Room,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieved {
    /// restic's id of the snapshot.
    pub snapshot: String,
    /// What the snapshot lacks, or what is newer.
    pub note: Option<String>,
}

/// Restores into a new directory.
pub fn retrieve(context: &Context, request: &Retrieval<'_>) -> Result<Retrieved, BackupError> {
    retrieve_by(context, request, Session::open)
}

/// As [`retrieve`]; `open` is asked when everything else is as it should be.
pub(super) fn retrieve_by<'a>(
    context: &'a Context,
    request: &Retrieval<'a>,
    open: impl FnOnce(&'a Context, &'a str) -> Result<Session<'a>, BackupError>,
) -> Result<Retrieved, BackupError> {
    let to = request.to;
    let place = |what| BackupError::Place { path: to.to_owned(), what };
    let paths = request.paths.iter().map(|path| plain(path)).collect::<Result<Vec<_>, _>>()?;
    plain(to)?;
    let pool = session::pool_of(&context.intent, to);
    let pool = pool.ok_or_else(|| place("in no pool: the disk of the system is not for data"))?;
    let mount = PathBuf::from(context.pool_mount(pool).map_err(BackupError::Pool)?);
    let partial = partial(request.name, to).ok_or_else(|| place("no name of a directory"))?;
    if to.symlink_metadata().is_ok() {
        return Err(place("there already; name a directory that is not"));
    }
    let session = open(context, request.name)?;
    let restic = session.expect()?;
    let Choice { snapshot, note } = session.snapshot(&restic, request.snapshot)?;
    let held = room::look(&restic, &snapshot, &paths, &|_| mount.clone())?;
    let missing = held.missing(&paths);
    if !missing.is_empty() {
        return Err(BackupError::NotInSnapshot { snapshot: snapshot.id, paths: missing });
    }
    // What an earlier restore left there is no part of this one, and takes no room from it.
    clear(&partial)?;
    room::expect(&held, request.room)?;
    bring(&restic, &snapshot.id, &paths, &partial)?;
    match renameat_with(CWD, &partial, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Retrieved { snapshot: snapshot.id, note }),
        Err(Errno::EXIST) => Err(place("there since this restore began")),
        Err(errno) => Err(BackupError::File { path: to.to_owned(), source: errno.into() }),
    }
}

fn clear(partial: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| BackupError::File { path: partial.to_owned(), source }),
    }
}

/// Restores into `partial`, which is made for it.
fn bring(
    restic: &Restic<'_>,
    snapshot: &str,
    paths: &[PathBuf],
    partial: &Path,
) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { path: partial.to_owned(), source };
    fs::create_dir(partial).map_err(failed)?;
    restic
        .restore(snapshot, partial, paths)
        .map_err(|source| BackupError::Partial { partial: partial.to_owned(), source })?;
    // What restic leaves out without a word would be missed much later.
    let back = |path: &&PathBuf| drill::below(partial, path).symlink_metadata().is_err();
    let missing: Vec<_> = paths.iter().filter(back).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(BackupError::NotInSnapshot { snapshot: snapshot.to_owned(), paths: missing })
}

/// Where files stand until all of them are there. It is beside the directory that was named: only
/// there it can be renamed to it.
fn partial(name: &str, to: &Path) -> Option<PathBuf> {
    let mut file = OsString::from(format!(".bedplate-partial-{name}-"));
    file.push(to.file_name()?);
    Some(to.with_file_name(file))
}

/// A path of the machine without `.`, and without a `/` at its end.
fn plain(path: &Path) -> Result<PathBuf, BackupError> {
    let is_plain = path.is_absolute() && !path.components().any(|one| one == Component::ParentDir);
    let what = "no path of the machine: it is named in full, without `..`";
    let wrong = || BackupError::Place { path: path.to_owned(), what };
    if is_plain { Ok(path.components().collect()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bedplate_tools::restic::Access;
    use bedplate_tools::secret::Secret;

    use super::*;

    #[test]
    fn a_path_is_named_in_full() {
        assert_eq!(plain(Path::new("/mnt/./a*/")).unwrap(), Path::new("/mnt/a*"));
        for wrong in ["a", "/mnt/../etc", ""] {
            assert!(plain(Path::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_came_of_a_restore_that_failed_is_in_the_way_of_none() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("restic");
        // Brings one file, and ends as well as the file `code` says.
        let script = "#!/bin/sh\nwhile [ $1 != --target ]; do shift; done\n\
                      test ! -e $2/mnt || exit 9\nmkdir $2/mnt && echo x >$2/mnt/a\n\
                      exit $(cat ${0%/*}/code)\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let password = Secret::new(b"x".to_vec());
        let (access, cache) = (&Access::Open, "/c".into());
        let restic =
            Restic { program: &program, repository: "/r", password: &password, access, cache };
        let to = place.path().join("back");
        let partial = partial("apps", &to).unwrap();
        assert_eq!(partial.parent(), to.parent());
        let paths = [PathBuf::from("/mnt/a")];
        for code in ["1", "1", "0"] {
            fs::write(place.path().join("code"), code).unwrap();
            clear(&partial).unwrap();
            let result = bring(&restic, "ab", &paths, &partial);
            assert_eq!(result.is_ok(), code == "0", "{result:?}");
            // What came is there for whoever needs just that.
            assert!(partial.join("mnt/a").exists());
            if let Err(error) = result {
                assert!(error.to_string().contains(partial.to_str().unwrap()), "{error}");
            }
        }
        clear(&partial).unwrap();
        let result = bring(&restic, "ab", &["/mnt/b".into()], &partial);
        assert!(matches!(result, Err(BackupError::NotInSnapshot { .. })), "{result:?}");
    }
}
