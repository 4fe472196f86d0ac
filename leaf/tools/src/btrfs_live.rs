//! A mounted btrfs file system as `/sys/fs/btrfs` shows it.
//!
//! `devinfo` is never read: after a missing device was removed its entry stays, and looking into it
//! kills whoever looks (an oops in Linux 6.12).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::btrfs::Superblock;

/// Where the kernel shows them.
pub const ROOT: &str = "/sys/fs/btrfs";

/// How often a disk is asked that does not answer, and the time in between. Each time the kernel has tried
/// for as long as its driver does.
const TRIES: u32 = 3;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(500);

/// What the kernel says of a mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Names under `/dev/mapper` of the devices that are there (kernel names of others).
    pub devices: BTreeSet<String>,
    /// Those of them whose disk dropped out: nothing can be read of them.
    pub silent: BTreeSet<String>,
    /// The same of those that are being written in the place of another.
    pub targets: BTreeSet<String>,
    /// The number of each of `devices` that says it, by its name.
    pub numbers: BTreeMap<String, u64>,
    /// A generation that every device has reached that is there.
    pub generation: u64,
    /// How many devices are missing.
    pub missing: usize,
    /// Kinds of block group and how each is spread, such as `data/raid1`.
    pub profiles: BTreeSet<String>,
}

impl Live {
    /// Looks at the file system `fsid`; `None` when it is not mounted.
    pub fn read(fsid: &str) -> io::Result<Option<Self>> {
        read(Path::new(ROOT), Path::new("/dev"), fsid)
    }
}

fn read(root: &Path, nodes: &Path, fsid: &str) -> io::Result<Option<Live>> {
    let directory = root.join(fsid);
    if !directory.exists() {
        return Ok(None);
    }
    let mut live = Live::default();
    let (mut wanted, mut generations) = (0, Vec::new());
    for name in names(&directory.join("devices"))? {
        let mapper = directory.join("devices").join(&name).join("dm/name");
        let mapper = fs::read_to_string(mapper).map(|text| text.trim().to_owned());
        let mapper = mapper.unwrap_or_else(|_| name.clone());
        // A disk that dropped out says nothing, and hides nothing of the others.
        let block = read_again(&nodes.join(&name));
        if block.as_ref().is_err_and(is_silence) {
            live.silent.insert(mapper.clone());
        }
        let block = block.ok().flatten().filter(|block| !block.hidden);
        if block.as_ref().is_some_and(|block| block.device == 0) {
            live.targets.insert(mapper);
            continue;
        }
        if let Some(block) = block {
            // Every device says how many there are.
            wanted = wanted.max(block.devices);
            live.numbers.insert(mapper.clone(), block.device);
            generations.push(block.generation);
        }
        live.devices.insert(mapper);
    }
    live.generation = generations.into_iter().min().unwrap_or(0);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    live.missing = wanted.saturating_sub(live.devices.len());
    for kind in ["data", "metadata", "system"] {
        let place = directory.join("allocation").join(kind);
        let spread = names(&place)?.into_iter().filter(|name| place.join(name).is_dir());
        live.profiles.extend(spread.map(|name| format!("{kind}/{name}")));
    }
    Ok(Some(live))
}

/// Tried again where it fails: whose disk is silent is noted, and it is behind from then on.
fn read_again(node: &Path) -> io::Result<Option<Superblock>> {
    for _ in 1..TRIES {
        match Superblock::read_on_disk(node) {
            Err(error) if is_silence(&error) => sleep(PAUSE),
            answered => return answered,
        }
    }
    Superblock::read_on_disk(node)
}

/// A node that is not there says nothing of its disk.
fn is_silence(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::NotFound
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_a_missing_device_and_single_chunks_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, content: &str| {
            let path = root.path().join("f").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        file("devices/dm-3/dm/name", "bedplate-vm1\n");
        let nodes = tempfile::tempdir().unwrap();
        let mut block = vec![0; (64 << 10) + 0xd1];
        let start = 64 << 10;
        block[start + 0x40..start + 0x48].copy_from_slice(b"_BHRfS_M");
        block[start + 0x88] = 2;
        block[start + 0x48] = 9;
        block[start + 0xc9] = 1;
        fs::write(nodes.path().join("dm-3"), block).unwrap();
        file("allocation/data/raid1/total_bytes", "1");
        file("allocation/data/single/total_bytes", "1");
        file("allocation/data/flags", "1");
        file("allocation/metadata/raid1/total_bytes", "1");
        fs::create_dir_all(root.path().join("f/allocation/system")).unwrap();
        let live = read(root.path(), nodes.path(), "f").unwrap().unwrap();
        assert_eq!(live.devices, BTreeSet::from(["bedplate-vm1".to_owned()]));
        assert_eq!((live.missing, live.generation), (1, 9));
        assert_eq!(live.numbers, BTreeMap::from([("bedplate-vm1".to_owned(), 1)]));
        let profiles: Vec<_> = live.profiles.iter().map(String::as_str).collect();
        assert_eq!(profiles, ["data/raid1", "data/single", "metadata/raid1"]);
        assert_eq!(read(root.path(), nodes.path(), "g").unwrap(), None);
    }

    #[test]
    fn t44_a_device_whose_disk_dropped_out_is_known_by_its_silence() {
        let (root, nodes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["dm-1", "dm-2", "dm-3"] {
            let place = root.path().join("f/devices").join(name).join("dm");
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("name"), format!("bedplate-{name}\n")).unwrap();
        }
        for kind in ["data", "metadata", "system"] {
            fs::create_dir_all(root.path().join("f/allocation").join(kind)).unwrap();
        }
        fs::write(nodes.path().join("dm-1"), vec![0; 128 << 10]).unwrap();
        // A node that can be opened and not read; dm-3 has none, which says nothing of its disk.
        fs::create_dir(nodes.path().join("dm-2")).unwrap();
        let live = read(root.path(), nodes.path(), "f").unwrap().unwrap();
        assert_eq!(live.silent, BTreeSet::from(["bedplate-dm-2".to_owned()]));
        assert_eq!(live.devices.len(), 3);
    }

    #[test]
    fn t44_what_is_being_written_in_the_place_of_another_is_no_device_yet() {
        let root = tempfile::tempdir().unwrap();
        let nodes = tempfile::tempdir().unwrap();
        for (name, number) in [("dm-1", 1), ("dm-2", 0)] {
            let place = root.path().join("f/devices").join(name).join("dm");
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("name"), format!("bedplate-{name}\n")).unwrap();
            let mut block = vec![0; (64 << 10) + 0xd1];
            let start = 64 << 10;
            block[start + 0x40..start + 0x48].copy_from_slice(b"_BHRfS_M");
            (block[start + 0x88], block[start + 0xc9]) = (2, number);
            fs::write(nodes.path().join(name), block).unwrap();
        }
        for kind in ["data", "metadata", "system"] {
            fs::create_dir_all(root.path().join("f/allocation").join(kind)).unwrap();
        }
        let live = read(root.path(), nodes.path(), "f").unwrap().unwrap();
        assert_eq!(live.devices, BTreeSet::from(["bedplate-dm-1".to_owned()]));
        assert_eq!(live.targets, BTreeSet::from(["bedplate-dm-2".to_owned()]));
        assert_eq!(live.missing, 1);
    }
}
