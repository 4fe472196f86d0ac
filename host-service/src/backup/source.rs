//! What a backup reads: read-only snapshots, shown at places that are the same every time.
//!
//! A path `/mnt/bulk/apps` is read as `mnt/bulk/apps` below a directory of the backup's own, where
//! the snapshot of its subvolume is bind-mounted: restic stores the path as it is on the machine,
//! and finds size, times and inode of a file that has not changed as they were the last time. The
//! snapshots stay on the pool until the next backup has stored everything: a drill compares with them,
//! and a lab is made of them.

use bedplate_disks::pool_fs::{self, PoolFileSystem};
use bedplate_model::host::FileSystem;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandError;
use bedplate_tools::mount::{self, MountError};
use sha2::{Digest as _, Sha256};

use bedplate_tools::mounts::Mounts;

/// Directory of snapshots at the top of a pool; one directory below it for each backup.
pub const DIRECTORY: &str = ".bedplate-snapshots";
/// Before the name of a snapshot until what was read from it is stored.
const FRESH: &str = "new-";

/// A source that could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path that is to be backed up, or one of ours.
    #[error("{} cannot be looked at, made or removed", .path.display())]
    Path {
        /// The path in `host.toml`, or the one of ours that a snapshot is made or shown at.
        path: PathBuf,
        /// What the kernel said when it was looked at, made or removed.
        #[source]
        source: io::Error,
    },
    /// Outside the pool it was said to be in.
    #[error("{} is in no subvolume of the pool at {}", .path.display(), .mount.display())]
    Outside {
        /// The path that is to be backed up.
        path: PathBuf,
        /// Mount point of the pool that `host.toml` has it in.
        mount: PathBuf,
    },
    /// The file system did not make or delete a snapshot.
    #[error("a snapshot could not be made or deleted")]
    Snapshot(#[from] CommandError),
    /// Nobody knows what would be left out.
    #[error(
        "it could not be found out whether there are subvolumes in what is to be backed up; nothing \
         was stored"
    )]
    List(#[source] CommandError),
    /// What a snapshot does not hold.
    #[error(
        "there are subvolumes in what is to be backed up, and a snapshot leaves out what is in them: \
         {0}; nothing was stored; name each in `paths` of this backup too, or move it to where \
         nothing is backed up"
    )]
    Nested(String),
    /// The bind mount.
    #[error("a snapshot could not be shown")]
    Show(#[from] MountError),
}

/// A path to back up and the mount of its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute path.
    pub path: PathBuf,
    /// Mount point of the pool it is in.
    pub mount: PathBuf,
    /// The file system of that pool.
    pub file_system: FileSystem,
}

impl Wanted {
    /// What snapshots it.
    pub fn pool_fs(&self) -> &'static dyn PoolFileSystem {
        pool_fs::of(self.file_system)
    }
}

/// One path with the snapshot it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As on the machine.
    pub path: PathBuf,
    /// The subvolume it is in.
    pub(super) subvolume: PathBuf,
    /// The snapshot of that subvolume.
    snapshot: PathBuf,
    /// The path inside the snapshot.
    pub content: PathBuf,
}

impl Source {
    /// The places inside `content` whose subvolumes are other sources: empty directories in this
    /// snapshot.
    pub fn elsewhere(&self, all: &[Self]) -> Vec<PathBuf> {
        let others = all.iter().filter(|other| other.subvolume != self.subvolume);
        let inside = others.filter_map(|other| other.path.strip_prefix(&self.path).ok());
        inside.map(|inside| self.content.join(inside)).collect()
    }
}

/// Which snapshots of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those of the newest run that stored everything.
    Kept,
    /// Those of the run that is under way.
    Fresh,
}

impl Which {
    fn named(self, short: &str) -> String {
        match self {
            Self::Kept => short.to_owned(),
            Self::Fresh => format!("{FRESH}{short}"),
        }
    }

    fn has(self, file_name: &OsStr) -> bool {
        let is_fresh = file_name.as_encoded_bytes().starts_with(FRESH.as_bytes());
        is_fresh == (self == Self::Fresh)
    }
}

/// Finds the subvolume of each path, and where its snapshot stands for the backup `name`.
pub fn sources(name: &str, wanted: &[Wanted], which: Which) -> Result<Vec<Source>, SourceError> {
    let source = |one: &Wanted| {
        let subvolume = subvolume_of(one)?;
        let snapshot = one.mount.join(DIRECTORY).join(name).join(which.named(&short(&subvolume)));
        let content = place(&snapshot, &subvolume, &one.path);
        Ok(Source { path: one.path.clone(), subvolume, snapshot, content })
    };
    wanted.iter().map(source).collect()
}

/// Snapshots of the sources, which are fresh ones, each subvolume once; what a run that was cut off left
/// is deleted. Those of the run before stay: perhaps this one cannot read everything.
pub fn take(name: &str, wanted: &[Wanted], sources: &[Source]) -> Result<(), SourceError> {
    remove(name, wanted, Which::Fresh)?;
    let mut taken: Vec<&Path> = Vec::new();
    for (source, one) in sources.iter().zip(wanted) {
        if taken.contains(&source.snapshot.as_path()) {
            continue;
        }
        if let Some(directory) = source.snapshot.parent() {
            fs::create_dir_all(directory).map_err(failed(directory))?;
        }
        one.pool_fs().snapshot(&source.subvolume, &source.snapshot)?;
        taken.push(&source.snapshot);
    }
    Ok(())
}

/// Puts the fresh snapshots of the backup `name` in the place of those that were kept.
pub fn keep(name: &str, wanted: &[Wanted]) -> Result<(), SourceError> {
    remove(name, wanted, Which::Kept)?;
    for directory in directories(name, wanted).into_keys() {
        for path in entries(&directory)? {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(kept) = file_name.strip_prefix(FRESH) else { continue };
            fs::rename(&path, directory.join(kept)).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Deletes snapshots of the backup `name` on the pools of `wanted`.
pub fn remove(name: &str, wanted: &[Wanted], which: Which) -> Result<(), SourceError> {
    for (directory, file_system) in directories(name, wanted) {
        let snapshots = entries(&directory)?.into_iter();
        for path in snapshots.filter(|path| which.has(path.file_name().unwrap_or_default())) {
            file_system.delete_part(&path)?;
        }
    }
    Ok(())
}

/// The directory of a backup's snapshots on each pool, with what made them.
fn directories(name: &str, wanted: &[Wanted]) -> BTreeMap<PathBuf, &'static dyn PoolFileSystem> {
    wanted.iter().map(|one| (one.mount.join(DIRECTORY).join(name), one.pool_fs())).collect()
}

/// What is in a directory; nothing when there is none.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(directory))?,
    };
    let path = |entry: io::Result<fs::DirEntry>| Ok(entry.map_err(failed(directory))?.path());
    entries.map(path).collect()
}

/// Sources shown below one directory; dropping it takes them away.
#[derive(Debug)]
pub struct Shown {
    /// The directory.
    pub place: PathBuf,
    /// The paths below it.
    pub paths: Vec<PathBuf>,
}

impl Shown {
    /// Shows each source at its own path below `place`, read-only. A path inside another comes after
    /// it: the other would cover it.
    pub fn new(place: &Path, sources: &[Source]) -> Result<Self, SourceError> {
        hide(place)?;
        let mut shown = Self { place: place.to_owned(), paths: Vec::new() };
        let mut sources: Vec<&Source> = sources.iter().collect();
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        for source in sources {
            let relative = source.path.strip_prefix("/").unwrap_or(&source.path).to_owned();
            let at = place.join(&relative);
            fs::create_dir_all(&at).map_err(failed(&at))?;
            mount::bind(&source.content, &at)?;
            mount::protect(&at)?;
            shown.paths.push(relative);
        }
        Ok(shown)
    }

    /// Takes them away.
    pub fn hide(self) -> Result<(), SourceError> {
        hide(&self.place)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // The next run takes away what stays.
        let _ = hide(&self.place);
    }
}

/// Unmounts everything below `place`, as a run that was killed left it, and removes the directories,
/// which are empty then: nothing that holds a file is ever removed here.
fn hide(place: &Path) -> Result<(), SourceError> {
    let table = Path::new("/proc/self/mountinfo");
    let mounts = Mounts::parse(&fs::read_to_string(table).map_err(failed(table))?);
    for point in mounts.at_or_below(&place.to_string_lossy()) {
        mount::unmount(Path::new(point))?;
    }
    remove_empty(place).map_err(failed(place))
}

fn remove_empty(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        remove_empty(&entry?.path())?;
    }
    fs::remove_dir(directory)
}

/// The innermost subvolume that holds a path.
fn subvolume_of(wanted: &Wanted) -> Result<PathBuf, SourceError> {
    let outside =
        || SourceError::Outside { path: wanted.path.clone(), mount: wanted.mount.clone() };
    for at in wanted.path.ancestors().take_while(|at| at.starts_with(&wanted.mount)) {
        let found = fs::symlink_metadata(at).map_err(failed(at))?;
        if found.is_symlink() {
            return Err(outside());
        }
        if wanted.pool_fs().is_part(&found) {
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

/// A name for a subvolume that does not change with what else is backed up.
fn short(subvolume: &Path) -> String {
    let digest = Sha256::digest(subvolume.as_os_str().as_encoded_bytes());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Path { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_place_inside_the_snapshot() {
        let snapshot = Path::new("/mnt/bulk/.bedplate-snapshots/apps/0");
        let top = Path::new("/mnt/bulk");
        let inner = place(snapshot, top, Path::new("/mnt/bulk/apps-vm"));
        assert_eq!(inner, Path::new("/mnt/bulk/.bedplate-snapshots/apps/0/apps-vm"));
        assert_eq!(place(snapshot, top, top), snapshot);
    }

    #[test]
    fn the_name_of_a_snapshot_depends_on_its_subvolume_alone() {
        assert_eq!(short(Path::new("/mnt/bulk")), short(Path::new("/mnt/bulk")));
        assert_ne!(short(Path::new("/mnt/bulk/a")), short(Path::new("/mnt/bulk/b")));
    }

    #[test]
    fn what_another_source_reads_is_not_compared_in_this_one() {
        let source = |path: &str, subvolume: &str, snapshot: &str| Source {
            path: path.into(),
            subvolume: subvolume.into(),
            snapshot: snapshot.into(),
            content: place(Path::new(snapshot), Path::new(subvolume), Path::new(path)),
        };
        let all = [
            source("/mnt/bulk/photos", "/mnt/bulk/photos", "/s/1"),
            source("/mnt/bulk", "/mnt/bulk", "/s/0"),
            // In the same snapshot: it can be compared there.
            source("/mnt/bulk/apps", "/mnt/bulk", "/s/0"),
        ];
        assert_eq!(all[1].elsewhere(&all), [Path::new("/s/0/photos")]);
        assert!(all[0].elsewhere(&all).is_empty() && all[2].elsewhere(&all).is_empty());
    }

    #[test]
    fn t48_snapshots_of_a_run_that_is_under_way_are_not_those_that_are_kept() {
        let pool = tempfile::tempdir().unwrap();
        let wanted = [Wanted {
            path: pool.path().join("a"),
            mount: pool.path().to_owned(),
            file_system: Default::default(),
        }];
        let directory = pool.path().join(DIRECTORY).join("apps");
        fs::create_dir_all(&directory).unwrap();
        for name in [Which::Fresh.named("0a"), Which::Fresh.named("1b")] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        // Nothing was kept before, and nothing is called by another name.
        assert!(Which::Kept.has("0a".as_ref()) && !Which::Fresh.has("0a".as_ref()));
        keep("apps", &wanted).unwrap();
        let mut names = entries(&directory).unwrap();
        names.sort();
        assert_eq!(names, [directory.join("0a"), directory.join("1b")]);
        remove("apps", &wanted, Which::Fresh).unwrap();
        assert_eq!(entries(&directory).unwrap().len(), 2);
    }

    #[test]
    fn t39_a_path_on_no_subvolume_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mount = directory.path().to_owned();
        let path = mount.join("a");
        fs::create_dir(&path).unwrap();
        let found = subvolume_of(&Wanted { path, mount, file_system: Default::default() });
        assert!(matches!(found, Err(SourceError::Outside { .. })), "{found:?}");
    }

    #[test]
    fn what_holds_a_file_is_not_taken_for_a_place_that_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("apps");
        fs::create_dir_all(place.join("mnt/bulk/apps")).unwrap();
        hide(&place).unwrap();
        assert!(!place.exists());
        fs::create_dir_all(place.join("mnt")).unwrap();
        fs::write(place.join("mnt/file"), "x").unwrap();
        assert!(hide(&place).is_err());
        assert!(place.join("mnt/file").exists());
    }
}
