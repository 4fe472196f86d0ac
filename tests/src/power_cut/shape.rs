//! The machines that are installed and cut.

use std::path::Path;

use bedplate_qemu_harness::machine::{Disk, DiskKind, Format};

use crate::seed::{self, INSTALLED, KEY, POOLS, SECOND_KEY, SECOND_STICK, STICK, Sizes};
use crate::small;

/// Which disks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The small machine as other stories have it.
    Small,
    /// The small machine with a cache in each of its disks, which a power cut loses: the quick
    /// ones are virtio, because QEMU's NVMe has none when it is served over NBD.
    Cached,
    /// The seed's hypervisor: seven disks of their true sizes, two pools, two key sticks.
    Full,
}

impl Shape {
    /// The disks but the medium, as raw images in `directory`.
    pub fn disks(self, directory: &Path) -> Vec<Disk> {
        match self {
            Self::Small => small::disks(directory),
            Self::Cached => small::disks(directory).into_iter().map(cached).collect(),
            Self::Full => full(directory),
        }
    }

    /// The text of `host.toml`.
    pub fn host_toml(self) -> String {
        let disks = self.disks(Path::new("/"));
        if self != Self::Full {
            return small::host_toml(&disks);
        }
        let members = |pool: &str| -> Vec<&str> {
            INSTALLED.iter().filter(|(_, of)| *of == Some(pool)).map(|(role, _)| *role).collect()
        };
        let pools = POOLS.map(|(pool, _)| (pool, members(pool)));
        let pools = pools.each_ref().map(|(pool, members)| (*pool, members.as_slice()));
        small::host_toml_with(&disks, &pools, &[(KEY, STICK), (SECOND_KEY, SECOND_STICK)])
    }
}

fn cached(mut disk: Disk) -> Disk {
    if disk.kind == DiskKind::Nvme {
        disk.kind = DiskKind::VirtioBlk;
    }
    disk
}

fn full(directory: &Path) -> Vec<Disk> {
    let mut disks = seed::installed_disks(directory, Sizes::True);
    disks.push(seed::key_stick(directory));
    disks.push(seed::second_key_stick(directory));
    disks.push(seed::canary(directory));
    for disk in &mut disks {
        (disk.format, disk.file) = (Format::Raw, directory.join(format!("{}.img", disk.role)));
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_the_host_of_each_shape_is_valid_and_names_its_disks_and_pools() {
        for (shape, disks, pools, sticks) in
            [(Shape::Small, 4, 1, 1), (Shape::Cached, 4, 1, 1), (Shape::Full, 7, 2, 2)]
        {
            let text = shape.host_toml();
            let host = crate::answers::parse(&text).unwrap_or_else(|e| panic!("{shape:?}: {e}"));
            assert_eq!(host.disks.len(), disks, "{shape:?}");
            assert_eq!(host.pools.len(), pools, "{shape:?}");
            assert_eq!(host.unlock.sticks.len(), sticks, "{shape:?}");
            assert!(!text.contains("CANARY"), "{shape:?}");
        }
    }

    #[test]
    fn f1_every_cached_disk_loses_its_cache_and_the_full_shape_has_the_true_sizes() {
        let cached = Shape::Cached.disks(Path::new("/d"));
        assert!(cached.iter().all(|disk| disk.kind != DiskKind::Nvme));
        let full = Shape::Full.disks(Path::new("/d"));
        assert!(full.iter().map(|disk| disk.size).sum::<u64>() > 11_000_000_000_000);
        assert!(full.iter().all(|disk| disk.format == Format::Raw));
    }
}
