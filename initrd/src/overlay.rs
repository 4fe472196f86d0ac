//! Writable views of read-only trees, and files laid over them.

use std::fs::{self, DirEntry};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_tools::mount::{Access, Mount};

use crate::early::make_directory;
use crate::error::Error;

/// Mounts at `target` the directories `lower`, the first on top, under a tmpfs at `writable`.
pub(crate) fn mount(lower: &[PathBuf], writable: &Path, target: &Path) -> Result<(), Error> {
    make_directory(writable)?;
    make_directory(target)?;
    Mount {
        source: "tmpfs",
        target: writable,
        kind: "tmpfs",
        access: Access::ReadWrite,
        options: "mode=0755",
    }
    .mount()?;
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    make_directory(&upper)?;
    make_directory(&work)?;
    let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    Mount {
        source: "overlay",
        target,
        kind: "overlay",
        access: Access::ReadWrite,
        options: &options,
    }
    .mount()?;
    Ok(())
}

/// Copies the files, links and directories below `from` over those below `to`.
pub(crate) fn lay_over(from: &Path, to: &Path) -> Result<(), Error> {
    make_directory(to)?;
    let entries = fs::read_dir(from).map_err(|source| Error::file("list", from, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::file("list", from, source))?;
        lay_one(&entry, &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn lay_one(entry: &DirEntry, target: &Path) -> Result<(), Error> {
    let from = entry.path();
    let kind = entry.file_type().map_err(|source| Error::file("read", &from, source))?;
    if kind.is_dir() {
        return lay_over(&from, target);
    }
    // A link in the way is replaced, never followed: it may lead anywhere.
    if target.symlink_metadata().is_ok() {
        fs::remove_file(target).map_err(|source| Error::file("replace", target, source))?;
    }
    let done = if kind.is_symlink() {
        fs::read_link(&from).and_then(|link| symlink(link, target))
    } else {
        fs::copy(&from, target).and_then(|_| make_writable(target))
    };
    done.map_err(|source| Error::file("write", target, source))
}

/// Store paths are read-only; their copies are ordinary files.
fn make_writable(target: &Path) -> std::io::Result<()> {
    let mode = target.metadata()?.permissions().mode();
    fs::set_permissions(target, fs::Permissions::from_mode(mode | 0o200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_replace_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("etc")).unwrap();
        fs::create_dir_all(to.join("etc")).unwrap();
        fs::write(from.join("etc/issue"), "new").unwrap();
        symlink("/nowhere", from.join("etc/link")).unwrap();
        fs::write(directory.path().join("victim"), "kept").unwrap();
        symlink(directory.path().join("victim"), to.join("etc/issue")).unwrap();
        fs::write(to.join("etc/other"), "stays").unwrap();
        lay_over(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("etc/issue")).unwrap(), "new");
        assert_eq!(fs::read_link(to.join("etc/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::read_to_string(to.join("etc/other")).unwrap(), "stays");
        assert_eq!(fs::read_to_string(directory.path().join("victim")).unwrap(), "kept");
    }
}
