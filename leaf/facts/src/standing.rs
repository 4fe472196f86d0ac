//! File systems that are mounted, each with the disks that it is on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::roots::{Roots, names, text};

/// No stack of mappings is deeper.
const DEPTH: u32 = 16;
/// How btrfs keeps its chunks.
const PROFILES: [&str; 9] =
    ["single", "dup", "raid0", "raid1", "raid1c3", "raid1c4", "raid10", "raid5", "raid6"];
/// File systems that stand on something else than a disk of the machine, or only start it.
const PASSED_BY: [&str; 4] = ["vfat", "squashfs", "iso9660", "erofs"];

/// A file system that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// `btrfs`, `ext4` and the like.
    pub kind: String,
    /// Kernel names of the whole disks that it is on, sorted.
    pub disks: Vec<String>,
    /// Whether a LUKS volume lies between.
    pub is_encrypted: bool,
    /// How btrfs keeps data: `raid1` and the like, more than one while it is being changed.
    pub data: Vec<String>,
    /// How btrfs keeps metadata.
    pub metadata: Vec<String>,
    /// Where it is mounted, each with the directory of it that is seen there.
    pub mounts: Vec<(String, String)>,
}

/// Those on disks of the machine.
pub fn file_systems(roots: &Roots) -> Vec<FileSystem> {
    let table = fs::read_to_string(roots.proc.join("self/mountinfo"))
        .or_else(|_| fs::read_to_string(roots.proc.join("1/mountinfo")))
        .unwrap_or_default();
    let mounts: Vec<Mount> = table.lines().filter_map(Mount::read).collect();
    let mut found = btrfs(roots, &mounts);
    for mount in mounts.iter().filter(|mount| mount.kind != "btrfs") {
        let name =
            kernel_name(roots, &mount.source).filter(|_| !PASSED_BY.contains(&mount.kind.as_str()));
        let Some(name) = name else { continue };
        let below = below(roots, &[name]);
        if below.disks.iter().any(|disk| disk.starts_with("loop")) {
            continue;
        }
        let place = (mount.root.clone(), mount.point.clone());
        found.push(FileSystem { kind: mount.kind.clone(), mounts: vec![place], ..below });
    }
    found.retain(|one| !one.mounts.is_empty() && !one.disks.is_empty());
    found
}

fn btrfs(roots: &Roots, mounts: &[Mount]) -> Vec<FileSystem> {
    let place = roots.sys.join("fs/btrfs");
    let read = |id: String| {
        let own = place.join(id);
        let devices = names(&own.join("devices"));
        let is_own = |mount: &&Mount| {
            let name = kernel_name(roots, &mount.source);
            mount.kind == "btrfs" && name.is_some_and(|name| devices.contains(&name))
        };
        let mounts = mounts.iter().filter(is_own);
        let mounts = mounts.map(|mount| (mount.root.clone(), mount.point.clone())).collect();
        let profiles = |what: &str| {
            let all = names(&own.join("allocation").join(what));
            all.into_iter().filter(|name| PROFILES.contains(&name.as_str())).collect()
        };
        let (data, metadata) = (profiles("data"), profiles("metadata"));
        FileSystem { kind: "btrfs".into(), data, metadata, mounts, ..below(roots, &devices) }
    };
    names(&place)
        .into_iter()
        .filter(|id| place.join(id).join("devices").is_dir())
        .map(read)
        .collect()
}

/// What devices stand on.
fn below(roots: &Roots, devices: &[String]) -> FileSystem {
    let (mut disks, mut is_encrypted) = (BTreeSet::new(), false);
    for device in devices {
        whole(roots, device, DEPTH, &mut disks, &mut is_encrypted);
    }
    FileSystem { disks: disks.into_iter().collect(), is_encrypted, ..FileSystem::default() }
}

fn whole(
    roots: &Roots,
    name: &str,
    depth: u32,
    disks: &mut BTreeSet<String>,
    is_encrypted: &mut bool,
) {
    let own = roots.sys.join("block").join(name);
    if !own.is_dir() {
        // A partition lies in the directory of its disk.
        let place = fs::canonicalize(roots.sys.join("class/block").join(name)).ok();
        let disk = place.as_deref().and_then(Path::parent).and_then(Path::file_name);
        let disk = disk.map(|disk| disk.to_string_lossy().into_owned());
        let disk = disk.filter(|disk| roots.sys.join("block").join(disk).is_dir());
        disks.extend(disk);
        return;
    }
    let uuid = text(&own.join("dm/uuid")).unwrap_or_default();
    *is_encrypted |= uuid.starts_with("CRYPT-LUKS");
    let slaves = names(&own.join("slaves"));
    if slaves.is_empty() || depth == 0 {
        disks.insert(name.to_owned());
    }
    for slave in slaves.iter().filter(|_| depth > 0) {
        whole(roots, slave, depth - 1, disks, is_encrypted);
    }
}

/// The device that a path under `/dev` is.
fn kernel_name(roots: &Roots, source: &str) -> Option<String> {
    let path = source.strip_prefix("/dev/")?;
    if let Some(mapped) = path.strip_prefix("mapper/") {
        let blocks = names(&roots.sys.join("block"));
        let is_it = |name: &String| {
            text(&roots.sys.join("block").join(name).join("dm/name")).as_deref() == Some(mapped)
        };
        return blocks.into_iter().find(is_it);
    }
    let name = path.replace('/', "!");
    if roots.sys.join("class/block").join(&name).exists() {
        return Some(name);
    }
    let target = fs::canonicalize(roots.dev.join(path)).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// A line of the table of mounts.
struct Mount {
    root: String,
    point: String,
    kind: String,
    source: String,
}

impl Mount {
    fn read(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, source) = (after.next()?, after.next()?);
        let plain = |text: &str| {
            text.replace("\\040", " ")
                .replace("\\011", "\t")
                .replace("\\012", "\n")
                .replace("\\134", "\\")
        };
        Some(Self {
            root: plain(root),
            point: plain(point),
            kind: kind.into(),
            source: plain(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// An OS disk with LUKS, a pool of two, and a card with ext4.
    fn machine(root: &Path) -> Roots {
        let write = |path: &str, content: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for (disk, partition) in
            [("nvme0n1", "nvme0n1p2"), ("sda", "sda1"), ("sdb", "sdb1"), ("mmcblk0", "mmcblk0p1")]
        {
            write(&format!("sys/block/{disk}/{partition}/partition"), "1");
            fs::create_dir_all(root.join("sys/class/block")).unwrap();
            let target = format!("../../block/{disk}/{partition}");
            symlink(target, root.join("sys/class/block").join(partition)).unwrap();
        }
        for (number, name, below) in
            [("dm-0", "root", "nvme0n1p2"), ("dm-1", "bulk-1", "sda1"), ("dm-2", "bulk-2", "sdb1")]
        {
            write(&format!("sys/block/{number}/dm/name"), name);
            write(&format!("sys/block/{number}/dm/uuid"), "CRYPT-LUKS2-0-x");
            write(&format!("sys/block/{number}/slaves/{below}"), "");
            write(&format!("sys/class/block/{number}/x"), "");
        }
        for (id, devices) in [("a", &["dm-0"][..]), ("b", &["dm-1", "dm-2"])] {
            devices
                .iter()
                .for_each(|device| write(&format!("sys/fs/btrfs/{id}/devices/{device}"), ""));
        }
        write("sys/fs/btrfs/b/allocation/data/raid1/total", "1");
        write("sys/fs/btrfs/b/allocation/data/flags", "1");
        write("sys/fs/btrfs/features/x", "");
        write(
            "proc/self/mountinfo",
            "22 1 0:21 /root / rw - btrfs /dev/mapper/root rw\n\
             23 22 0:21 /nix /nix rw - btrfs /dev/mapper/root rw\n\
             40 22 0:40 / /mnt/bulk rw - btrfs /dev/mapper/bulk-2 rw\n\
             41 22 8:1 / /srv/a\\040b rw - ext4 /dev/mmcblk0p1 rw\n\
             42 22 8:2 / /boot rw - vfat /dev/nvme0n1p1 rw\n\
             43 22 0:5 / /proc rw - proc proc rw\n",
        );
        Roots::below(root, None)
    }

    #[test]
    fn file_systems_are_found_with_the_disks_below_them() {
        let place = tempfile::tempdir().unwrap();
        let found = file_systems(&machine(place.path()));
        let [os, pool, card] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((os.disks.as_slice(), os.is_encrypted), (&["nvme0n1".to_owned()][..], true));
        assert_eq!(
            os.mounts,
            [("/root".to_owned(), "/".to_owned()), ("/nix".to_owned(), "/nix".to_owned())]
        );
        assert_eq!(
            (pool.disks.join(" "), pool.data.join(" ")),
            ("sda sdb".to_owned(), "raid1".to_owned())
        );
        assert_eq!((card.kind.as_str(), card.is_encrypted), ("ext4", false));
        assert_eq!(card.mounts[0].1, "/srv/a b");
        assert!(file_systems(&Roots::below(Path::new("/nowhere"), None)).is_empty());
    }
}
