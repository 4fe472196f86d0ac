//! A mounted btrfs file system as `/sys/fs/btrfs` shows it.
//!
//! `devinfo` is never read: after a missing device was removed its entry stays, and looking into it
//! kills whoever looks (an oops in Linux 6.12).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::btrfs::Superblock;

/// Where the kernel shows them.
const ROOT: &str = "/sys/fs/btrfs";

/// What the kernel says of a mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Names under `/dev/mapper` of the devices that are there (kernel names of others).
    pub devices: BTreeSet<String>,
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
    let mut wanted = 0;
    for name in names(&directory.join("devices"))? {
        let mapper = directory.join("devices").join(&name).join("dm/name");
        let mapper = fs::read_to_string(mapper).map(|text| text.trim().to_owned());
        // Every device says how many there are.
        if let Some(block) = Superblock::read(&nodes.join(&name))? {
            wanted = wanted.max(block.devices);
        }
        live.devices.insert(mapper.unwrap_or(name));
    }
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    live.missing = wanted.saturating_sub(live.devices.len());
    for kind in ["data", "metadata", "system"] {
        let place = directory.join("allocation").join(kind);
        let spread = names(&place)?.into_iter().filter(|name| place.join(name).is_dir());
        live.profiles.extend(spread.map(|name| format!("{kind}/{name}")));
    }
    Ok(Some(live))
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
        fs::write(nodes.path().join("dm-3"), block).unwrap();
        file("allocation/data/raid1/total_bytes", "1");
        file("allocation/data/single/total_bytes", "1");
        file("allocation/data/flags", "1");
        file("allocation/metadata/raid1/total_bytes", "1");
        fs::create_dir_all(root.path().join("f/allocation/system")).unwrap();
        let live = read(root.path(), nodes.path(), "f").unwrap().unwrap();
        assert_eq!(live.devices, BTreeSet::from(["bedplate-vm1".to_owned()]));
        assert_eq!(live.missing, 1);
        let profiles: Vec<_> = live.profiles.iter().map(String::as_str).collect();
        assert_eq!(profiles, ["data/raid1", "data/single", "metadata/raid1"]);
        assert_eq!(read(root.path(), nodes.path(), "g").unwrap(), None);
    }
}
