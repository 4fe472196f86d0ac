//! What a backup reads: read-only snapshots at places that are the same every time.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bedplate_tools::btrfs;
use bedplate_tools::command::CommandError;

/// Directory of snapshots at the top of a pool.
const DIRECTORY: &str = ".bedplate-snapshots";
/// Inode of the root of every btrfs subvolume.
const SUBVOLUME_INODE: u64 = 256;

/// A source that could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path that is to be backed up.
    #[error("{} cannot be looked at", .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Outside the pool it was said to be in.
    #[error("{} is in no subvolume of the pool at {}", .path.display(), .mount.display())]
    Outside {
        /// Which.
        path: PathBuf,
        /// Pool.
        mount: PathBuf,
    },
    /// btrfs.
    #[error("a snapshot could not be made or deleted")]
    Snapshot(#[from] CommandError),
}

/// Snapshots that exist until [`Sources::release`].
#[derive(Debug, Default)]
pub struct Sources {
    snapshots: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

/// A path to back up and the mount of its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute path.
    pub path: PathBuf,
    /// Mount point of the pool it is in.
    pub mount: PathBuf,
}

impl Sources {
    /// Takes a snapshot of the subvolume of every path, for the backup `name`.
    pub fn take(&mut self, name: &str, wanted: &[Wanted]) -> Result<(), SourceError> {
        let mut taken: Vec<(PathBuf, PathBuf)> = Vec::new();
        for one in wanted {
            let subvolume = subvolume_of(one)?;
            let known = taken.iter().find(|(from, _)| *from == subvolume).map(|(_, to)| to.clone());
            let snapshot = match known {
                Some(snapshot) => snapshot,
                None => {
                    let snapshot = self.snapshot(name, &subvolume, &one.mount)?;
                    taken.push((subvolume.clone(), snapshot.clone()));
                    snapshot
                }
            };
            self.paths.push(place(&snapshot, &subvolume, &one.path));
        }
        Ok(())
    }

    /// Where the content of the paths is to be read, in their order.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Deletes the snapshots.
    pub fn release(self) -> Result<(), SourceError> {
        self.snapshots.iter().try_for_each(|snapshot| Ok(btrfs::delete_subvolume(snapshot)?))
    }

    fn snapshot(&mut self, name: &str, from: &Path, mount: &Path) -> Result<PathBuf, SourceError> {
        let directory = mount.join(DIRECTORY);
        if !directory.is_dir() {
            let failed = |source| SourceError::Path { path: directory.clone(), source };
            fs::create_dir(&directory).map_err(failed)?;
        }
        // The same number for the same subvolume as long as host.toml stays: restic compares paths.
        let snapshot = directory.join(format!("{name}-{}", self.snapshots.len()));
        if snapshot.exists() {
            btrfs::delete_subvolume(&snapshot)?;
        }
        btrfs::snapshot_read_only(from, &snapshot)?;
        self.snapshots.push(snapshot.clone());
        Ok(snapshot)
    }
}

/// The innermost subvolume that holds a path.
fn subvolume_of(wanted: &Wanted) -> Result<PathBuf, SourceError> {
    let outside =
        || SourceError::Outside { path: wanted.path.clone(), mount: wanted.mount.clone() };
    for at in wanted.path.ancestors().take_while(|at| at.starts_with(&wanted.mount)) {
        let found = fs::symlink_metadata(at)
            .map_err(|source| SourceError::Path { path: at.to_owned(), source })?;
        if found.is_symlink() {
            return Err(outside());
        }
        if found.is_dir() && found.ino() == SUBVOLUME_INODE {
            return Ok(at.to_owned());
        }
    }
    Err(outside())
}

fn place(snapshot: &Path, subvolume: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix(subvolume) {
        Ok(rest) if rest.as_os_str().is_empty() => snapshot.to_owned(),
        Ok(rest) => snapshot.join(rest),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_place_inside_the_snapshot() {
        let snapshot = Path::new("/mnt/bulk/.bedplate-snapshots/apps-0");
        let top = Path::new("/mnt/bulk");
        let inner = place(snapshot, top, Path::new("/mnt/bulk/apps-vm"));
        assert_eq!(inner, Path::new("/mnt/bulk/.bedplate-snapshots/apps-0/apps-vm"));
        assert_eq!(place(snapshot, top, top), snapshot);
    }

    #[test]
    fn t39_a_path_on_no_subvolume_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mount = directory.path().to_owned();
        let path = mount.join("a");
        fs::create_dir(&path).unwrap();
        let found = subvolume_of(&Wanted { path, mount });
        assert!(matches!(found, Err(SourceError::Outside { .. })), "{found:?}");
    }
}
