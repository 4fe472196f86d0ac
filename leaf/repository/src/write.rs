//! Carrying changes out: each appears whole or not at all, and nothing that is there is replaced
//! but a file that an edit was decided for, as it was then.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{Builder, TempDir};

use crate::change::{Change, Files};
use crate::error::{Error, file};

/// Writes the changes below `root`, in order: one by one into a directory that is there; a
/// directory that is not there appears with all of them or not at all.
pub fn write(root: &Path, changes: &[Change]) -> Result<(), Error> {
    if fs::symlink_metadata(root).is_ok() {
        return one_by_one(root, changes);
    }
    let parent = parent_of(root);
    fs::create_dir_all(parent).map_err(file("make", parent))?;
    let staging = staging(parent)?;
    let staged = staging.path().join("repository");
    fs::create_dir(&staged).map_err(file("make", &staged))?;
    one_by_one(&staged, changes).map_err(|error| match error {
        // What was staged goes again.
        Error::Partly { source, .. } => *source,
        other => other,
    })?;
    appear(&staged, root)
}

fn one_by_one(root: &Path, changes: &[Change]) -> Result<(), Error> {
    let mut written: Vec<String> = Vec::new();
    for change in changes {
        match one(root, change) {
            Ok(()) => written.extend(change.lines().into_iter().map(|line| line.path)),
            Err(error) if written.is_empty() => return Err(error),
            Err(source) => {
                let written = written.join(", ");
                return Err(Error::Partly { written, source: Box::new(source) });
            }
        }
    }
    Ok(())
}

fn one(root: &Path, change: &Change) -> Result<(), Error> {
    match change {
        Change::Directory { path, files } => directory(root, &place(root, path)?, files),
        Change::File { path, content } => {
            let (staging, target) = (staging(root)?, place(root, path)?);
            let staged = staging.path().join("file");
            put(&staged, content)?;
            appear(&staged, &target)
        }
        Change::Edit { path, before, after, .. } => edit(&place(root, path)?, before, after),
    }
}

/// Where a change goes. A link on the way could lead out of the repository.
fn place(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let mut place = root.to_owned();
    for part in path.split('/') {
        place.push(part);
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
            return Err(Error::Link { path: place });
        }
    }
    Ok(place)
}

/// A directory on the repository's file system that goes when it is dropped.
fn staging(root: &Path) -> Result<TempDir, Error> {
    Builder::new().prefix(".bedplate-").tempdir_in(root).map_err(file("write into", root))
}

fn directory(root: &Path, target: &Path, files: &Files) -> Result<(), Error> {
    let staging = staging(root)?;
    let staged = staging.path().join("directory");
    for (name, content) in files {
        put(&staged.join(name), content)?;
    }
    appear(&staged, target)
}

fn put(path: &Path, content: &[u8]) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(file("make", parent))?;
    }
    let write = || -> io::Result<()> {
        let mut made = fs::File::create_new(path)?;
        made.write_all(content)?;
        made.sync_all()
    };
    write().map_err(file("write", path))
}

/// Moves what was staged into its place, where nothing may be.
fn appear(staged: &Path, target: &Path) -> Result<(), Error> {
    let parent = parent_of(target);
    fs::create_dir_all(parent).map_err(file("make", parent))?;
    let renamed = renameat_with(CWD, staged, CWD, target, RenameFlags::NOREPLACE);
    renamed.map_err(|error| file("make", target)(error.into()))?;
    flush_parent(target)
}

fn edit(target: &Path, before: &str, after: &str) -> Result<(), Error> {
    let found = fs::read_to_string(target).map_err(file("read", target))?;
    if found != before {
        return Err(Error::Changed { path: target.to_owned() });
    }
    let mode = fs::metadata(target).map_err(file("look at", target))?.permissions().mode();
    let parent = parent_of(target);
    let mut builder = Builder::new();
    builder.prefix(".bedplate-").permissions(fs::Permissions::from_mode(mode & 0o7777));
    let mut staged = builder.tempfile_in(parent).map_err(file("write beside", target))?;
    let written = staged
        .write_all(after.as_bytes())
        .and_then(|()| staged.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o7777)))
        .and_then(|()| staged.as_file().sync_all());
    written.map_err(file("write beside", target))?;
    staged.persist(target).map_err(|error| file("replace", target)(error.error))?;
    flush_parent(target)
}

/// The directory that a path stands in.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn flush_parent(target: &Path) -> Result<(), Error> {
    let parent = parent_of(target);
    fs::File::open(parent).and_then(|open| open.sync_all()).map_err(file("flush", parent))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn new_file(path: &str) -> Change {
        Change::File { path: path.to_owned(), content: b"new".to_vec() }
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_that_is_there_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("flake.nix"), "old").unwrap();
        fs::create_dir(root.path().join("host")).unwrap();
        let files = Files::from([("x".to_owned(), b"new".to_vec())]);
        let directory = Change::Directory { path: "host".into(), files };
        for change in [new_file("flake.nix"), directory] {
            assert!(write(root.path(), &[change]).is_err());
        }
        assert_eq!(fs::read_to_string(root.path().join("flake.nix")).unwrap(), "old");
        assert_eq!(names(root.path()), ["flake.nix", "host"]);
        assert_eq!(names(&root.path().join("host")), Vec::<String>::new());
    }

    #[test]
    fn a_repository_that_is_not_there_appears_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("infra");
        // The second change cannot be written beside the first.
        let changes = [new_file("nix"), new_file("nix/hosts")];
        let error = write(&root, &changes).unwrap_err();
        assert!(!matches!(error, Error::Partly { .. }), "{error}");
        assert_eq!(names(place.path()), Vec::<String>::new());
        write(&root, &changes[..1]).unwrap();
        assert_eq!(names(&root), ["nix"]);
        assert_eq!(names(place.path()), ["infra"]);
    }

    #[test]
    fn an_edit_of_what_has_changed_meanwhile_is_refused_and_one_of_what_has_not_keeps_the_mode() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("flake.nix");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let edit = |before: &str| Change::Edit {
            path: "flake.nix".into(),
            before: before.into(),
            after: "two".into(),
            added: Vec::new(),
        };
        let error = write(root.path(), &[new_file("first"), edit("none")]).unwrap_err();
        assert!(error.to_string().contains("written so far: first"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write(root.path(), &[edit("one")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(root.path()), ["first", "flake.nix"]);
    }

    #[test]
    fn t15_a_link_does_not_lead_out_of_the_repository() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), root.path().join("nix")).unwrap();
        let error = write(root.path(), &[new_file("nix/hosts/x")]).unwrap_err();
        assert!(matches!(error, Error::Link { .. }), "{error}");
        assert_eq!(names(outside.path()), Vec::<String>::new());
    }
}
