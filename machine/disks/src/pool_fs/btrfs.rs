//! Pools on btrfs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::host::FileSystem;
use bedplate_tools::btrfs;
use bedplate_tools::command::CommandError;
use bedplate_tools::mount::{Access, Mount};

use super::{Health, Making, Meanwhile, OpenError, Opening, PoolFileSystem, Scrubbed};

/// btrfs over all members, with RAID1 for two copies.
pub(super) struct Btrfs;

impl PoolFileSystem for Btrfs {
    fn make(&self, making: &Making<'_>) -> Result<(), CommandError> {
        let (data, metadata) =
            if making.two_copies { ("raid1", "raid1") } else { ("single", "dup") };
        btrfs::make(making.members, making.label, &making.id.to_string(), data, metadata)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<(), OpenError> {
        btrfs::scan(opening.members)?;
        let options = options(opening);
        let source = opening.members.first().map(|node| node.display().to_string());
        let source = source.unwrap_or_default();
        let (target, kind) = (opening.at, FileSystem::Btrfs.name());
        let mount =
            Mount { source: &source, target, kind, access: opening.access, options: &options };
        Ok(mount.mount()?)
    }

    fn health(&self, mount: &Path) -> Result<Health, CommandError> {
        Ok(Health { usage: btrfs::usage(mount)?, errors: btrfs::errors(mount)? })
    }

    fn scrub(&self, mount: &Path) -> Result<Scrubbed, CommandError> {
        let summary = btrfs::scrub(mount)?;
        Ok(Scrubbed { finished: is_finished(&summary), summary })
    }

    fn join(&self, device: &Path, mount: &Path) -> Result<(), CommandError> {
        btrfs::add_device(device, mount)
    }

    fn leave(
        &self,
        device: &str,
        mount: &Path,
        meanwhile: Meanwhile<'_>,
    ) -> Result<(), CommandError> {
        btrfs::remove_device_meanwhile(device, mount, meanwhile)
    }

    fn spread(&self, mount: &Path, meanwhile: Meanwhile<'_>) -> Result<(), CommandError> {
        btrfs::convert_to_raid1_meanwhile(mount, meanwhile)
    }

    fn create_part(&self, path: &Path) -> Result<(), CommandError> {
        btrfs::create_subvolume(path)
    }

    fn snapshot(&self, from: &Path, to: &Path) -> Result<(), CommandError> {
        btrfs::snapshot_read_only(from, to)
    }

    fn delete_part(&self, path: &Path) -> Result<(), CommandError> {
        btrfs::delete_subvolume(path)
    }

    fn settle(&self, mount: &Path) -> Result<(), CommandError> {
        btrfs::wait_for_deleted(mount)
    }

    fn nested(&self, path: &Path) -> Result<Vec<PathBuf>, CommandError> {
        btrfs::subvolumes_in(path)
    }

    fn clone_file(&self, from: &File, to: &File) -> io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(to, from)?)
    }
}

/// Each member by name: the kernel has to know nothing of them before.
fn options(opening: &Opening<'_>) -> String {
    let nodes = opening.members.iter();
    let mut words: Vec<_> = nodes.map(|node| format!("device={}", node.display())).collect();
    words.extend(opening.degraded.then(|| "degraded".to_owned()));
    words.extend((opening.access == Access::ReadOnly).then(|| "rescue=nologreplay".to_owned()));
    words.join(",")
}

/// An exit code of 0 does not say that everything was read.
fn is_finished(summary: &str) -> bool {
    let mut states = summary.lines().filter_map(|line| line.trim().strip_prefix("Status:"));
    states.next().is_some_and(|first| first.trim() == "finished")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_is_said_only_when_a_member_is_missing() {
        let members = ["/dev/mapper/a", "/dev/mapper/b"].map(PathBuf::from);
        let opening = |degraded, access| {
            options(&Opening { members: &members, at: Path::new("/mnt"), degraded, access })
        };
        let whole = opening(false, Access::ReadWrite);
        assert_eq!(whole, "device=/dev/mapper/a,device=/dev/mapper/b");
        assert!(opening(true, Access::ReadWrite).ends_with(",degraded"));
        assert!(opening(false, Access::ReadOnly).ends_with(",rescue=nologreplay"));
    }

    #[test]
    fn f4_a_scrub_that_btrfs_gave_up_is_not_finished() {
        let aborted = "Starting scrub on devid 1\nscrub canceled for cb76a1fc\nScrub started:    Sat Nov 21 09:32:38 2026\nStatus:           aborted\nDuration:         0:00:04\nError summary:    no errors found\n";
        assert!(!is_finished(aborted));
        assert!(is_finished(&aborted.replace("aborted", "finished")));
        assert!(!is_finished(""));
    }
}
