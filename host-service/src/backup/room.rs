//! Whether there is room for what is to come back: on each pool for what comes to it (T40).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bedplate_tools::restic::{Restic, Snapshot};

use super::error::BackupError;

/// Whether room is asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// Nothing is begun that does not seem to fit.
    #[default]
    Asked,
    /// Its owner says that it fits: the estimate counts holes and shared data in full.
    Given,
}

impl Room {
    /// From a flag of the command line.
    pub fn given(is_given: bool) -> Self {
        if is_given { Self::Given } else { Self::Asked }
    }
}

/// What a snapshot holds of some paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Bytes of files, by where they come to.
    pub bytes: BTreeMap<PathBuf, u64>,
    /// Those of the paths that are in it.
    pub there: BTreeSet<PathBuf>,
}

impl Held {
    /// Counts one thing of a snapshot that comes to `place`.
    fn add(&mut self, path: PathBuf, size: u64, place: PathBuf, paths: &[PathBuf]) {
        let bytes = self.bytes.entry(place).or_default();
        *bytes = bytes.saturating_add(size);
        if paths.contains(&path) {
            self.there.insert(path);
        }
    }

    /// Those of `paths` that are not in it.
    pub fn missing(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        paths.iter().filter(|path| !self.there.contains(*path)).cloned().collect()
    }
}

/// Looks at what a snapshot holds of `paths`, all of it when none is named; `place` says where a path
/// comes to.
pub fn look(
    restic: &Restic<'_>,
    snapshot: &Snapshot,
    paths: &[PathBuf],
    place: &dyn Fn(&Path) -> PathBuf,
) -> Result<Held, BackupError> {
    let mut held = Held::default();
    restic.list(&snapshot.id, paths, &mut |node| {
        let place = place(&node.path);
        held.add(node.path, node.size, place, paths);
    })?;
    Ok(held)
}

/// Refuses what does not fit, unless its owner says that it does.
pub fn expect(held: &Held, room: Room) -> Result<(), BackupError> {
    if room == Room::Given {
        return Ok(());
    }
    for (place, needed) in &held.bytes {
        let found = rustix::fs::statvfs(place)
            .map_err(|errno| BackupError::File { path: place.clone(), source: errno.into() })?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        let usable = usable(free, size, *needed);
        if *needed > usable {
            return Err(BackupError::Full { place: place.clone(), free: usable, needed: *needed });
        }
    }
    Ok(())
}

/// How much of the `free` bytes of a file system of `size` bytes may be taken by `needed` bytes: as much
/// as is taken is left, but never more than a tenth of it.
fn usable(free: u64, size: u64, needed: u64) -> u64 {
    free.saturating_sub((size / 10).min(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn t40_a_tenth_of_a_pool_is_left_and_a_small_file_asks_for_little() {
        let fits = |free, size, needed| needed <= usable(free, size, needed);
        // A pool that is full to a tenth takes three bytes, and no more than it can spare.
        assert!(fits(GB / 10, 10 * GB, 3));
        assert!(!fits(GB / 10, 10 * GB, GB / 15));
        assert!(fits(6 * GB, 10 * GB, 5 * GB) && !fits(6 * GB, 10 * GB, 5 * GB + 1));
        assert!(!fits(0, 10 * GB, 1) && fits(0, 10 * GB, 0));
    }

    #[test]
    fn t40_each_pool_is_asked_for_what_comes_to_it_and_its_owner_knows_better() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        let paths: Vec<PathBuf> =
            vec!["/mnt/bulk/a".into(), "/mnt/vm/b".into(), "/mnt/vm/c".into()];
        let mut held = Held::default();
        let mut add = |path: &str, size, to: &Path| held.add(path.into(), size, to.into(), &paths);
        add("/mnt/bulk/a", 0, &one);
        add("/mnt/bulk/a/file", 3, &one);
        add("/mnt/vm/b", 5, &other);
        assert_eq!(held.bytes, [(one.clone(), 3), (other.clone(), 5)].into());
        assert_eq!(held.missing(&paths), [PathBuf::from("/mnt/vm/c")]);

        std::fs::create_dir(&one).unwrap();
        let mut of_one = Held { bytes: [(one.clone(), 3)].into(), ..Held::default() };
        expect(&of_one, Room::Asked).unwrap();
        of_one.bytes.insert(one.clone(), u64::MAX);
        let refused = expect(&of_one, Room::Asked).unwrap_err();
        assert!(matches!(&refused, BackupError::Full { place, .. } if *place == one), "{refused}");
        assert!(refused.to_string().contains("--ignore-room"), "{refused}");
        expect(&of_one, Room::Given).unwrap();
    }
}
