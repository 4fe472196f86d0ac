//! A mounted btrfs file system as `/sys/fs/btrfs` shows it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Where the kernel shows them.
const ROOT: &str = "/sys/fs/btrfs";

/// What the kernel says of a mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Names under `/dev/mapper` of the devices that are there (kernel names of others).
    pub devices: BTreeSet<String>,
    /// How many devices are missing.
    pub missing: usize,
    /// Read, write, flush, checksum and generation errors of all devices since they were counted anew.
    pub errors: u64,
    /// Kinds of block group and how each is spread, such as `data/raid1`.
    pub profiles: BTreeSet<String>,
}

impl Live {
    /// Looks at the file system `fsid`; `None` when it is not mounted.
    pub fn read(fsid: &str) -> io::Result<Option<Self>> {
        read(Path::new(ROOT), fsid)
    }
}

fn read(root: &Path, fsid: &str) -> io::Result<Option<Live>> {
    let directory = root.join(fsid);
    if !directory.exists() {
        return Ok(None);
    }
    let mut live = Live::default();
    for name in names(&directory.join("devices"))? {
        let mapper = directory.join("devices").join(&name).join("dm/name");
        let mapper = fs::read_to_string(mapper).map(|text| text.trim().to_owned());
        live.devices.insert(mapper.unwrap_or(name));
    }
    for device in names(&directory.join("devinfo"))? {
        let device = directory.join("devinfo").join(device);
        let missing = fs::read_to_string(device.join("missing")).unwrap_or_default();
        live.missing += usize::from(missing.trim() == "1");
        let errors = fs::read_to_string(device.join("error_stats")).unwrap_or_default();
        live.errors += sum(&errors);
    }
    for kind in ["data", "metadata", "system"] {
        let place = directory.join("allocation").join(kind);
        let spread = names(&place)?.into_iter().filter(|name| place.join(name).is_dir());
        live.profiles.extend(spread.map(|name| format!("{kind}/{name}")));
    }
    Ok(Some(live))
}

/// The numbers of lines such as `read_errs 3`.
fn sum(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_a_missing_device_errors_and_single_chunks_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, content: &str| {
            let path = root.path().join("f").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        file("devices/dm-3/dm/name", "bedplate-vm1\n");
        file("devinfo/1/missing", "0\n");
        file("devinfo/1/error_stats", "write_errs 0\nread_errs 2\ncorruption_errs 1\n");
        file("devinfo/2/missing", "1\n");
        file("allocation/data/raid1/total_bytes", "1");
        file("allocation/data/single/total_bytes", "1");
        file("allocation/data/flags", "1");
        file("allocation/metadata/raid1/total_bytes", "1");
        fs::create_dir_all(root.path().join("f/allocation/system")).unwrap();
        let live = read(root.path(), "f").unwrap().unwrap();
        assert_eq!(live.devices, BTreeSet::from(["bedplate-vm1".to_owned()]));
        assert_eq!((live.missing, live.errors), (1, 3));
        let profiles: Vec<_> = live.profiles.iter().map(String::as_str).collect();
        assert_eq!(profiles, ["data/raid1", "data/single", "metadata/raid1"]);
        assert_eq!(read(root.path(), "g").unwrap(), None);
    }
}
