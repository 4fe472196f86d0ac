//! Pools on btrfs.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bedplate_model::host::FileSystem;
use bedplate_tools::btrfs::{self, Superblock, replace};
use bedplate_tools::btrfs_live;
use bedplate_tools::command::CommandError;
use bedplate_tools::mount::{Access, Mount};
use uuid::Uuid;

use super::{
    Away, Filled, Health, Live, LookError, Making, Meanwhile, OpenError, Opening, PoolFileSystem,
    Progress, ResyncError, Scrubbed, Told, Usage, Which, Words,
};

/// btrfs over all members, with RAID1 for two copies.
pub(super) struct Btrfs;

/// Inode of the root of every subvolume.
const SUBVOLUME_INODE: u64 = 256;

const WORDS: Words = Words {
    name: "btrfs",
    journal: "BTRFS",
    errors: "btrfs device stats",
    gather: Some("btrfs balance start -dusage=30"),
};

impl PoolFileSystem for Btrfs {
    fn words(&self) -> &'static Words {
        &WORDS
    }

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
        let (usage, errors) = (btrfs::usage(mount)?, btrfs::errors(mount)?);
        Ok(Health { usage: filled(usage), unwritten: unwritten(&errors), errors })
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
        member: Which<'_>,
        mount: &Path,
        meanwhile: Meanwhile<'_>,
    ) -> Result<(), CommandError> {
        let device = match member {
            Which::Number(number) => number.to_string(),
            Which::Node(node) => node.display().to_string(),
        };
        btrfs::remove_device_meanwhile(&device, mount, meanwhile)
    }

    fn spread(&self, mount: &Path, meanwhile: Meanwhile<'_>) -> Result<(), CommandError> {
        btrfs::convert_to_raid1_meanwhile(mount, meanwhile)
    }

    fn told(&self, member: &Path) -> io::Result<Option<Told>> {
        Ok(Superblock::read_on_disk(member)?.map(told))
    }

    fn live(&self, id: Uuid) -> Result<Option<Live>, LookError> {
        let look_error = |source| LookError { path: btrfs_live::ROOT.into(), source };
        Ok(btrfs_live::Live::read(&id.to_string()).map_err(look_error)?.map(live))
    }

    fn missing(&self, mount: &Path) -> Result<Vec<u64>, CommandError> {
        btrfs::missing_devices(mount)
    }

    fn hide(&self, member: &Path) -> io::Result<()> {
        btrfs::hide(member)
    }

    fn show(&self, member: &Path) -> io::Result<()> {
        btrfs::show(member)
    }

    fn forget(&self, member: &Path) -> Result<(), CommandError> {
        btrfs::forget_one(member)
    }

    fn resynchronise(&self, away: &Away<'_>, meanwhile: Meanwhile<'_>) -> Result<(), ResyncError> {
        let written = replace::run_meanwhile(away.number, away.member, away.mount, meanwhile);
        written.map_err(|error| {
            let lacks_room = replace::lacks_room(&error);
            if lacks_room { ResyncError::NoRoom(error) } else { ResyncError::Failed(error) }
        })
    }

    fn progress(&self, mount: &Path) -> Result<Progress, CommandError> {
        Ok(match replace::progress(mount)? {
            replace::Progress::None => Progress::None,
            replace::Progress::Running(percent) => Progress::Running(percent),
            replace::Progress::Suspended => Progress::Suspended,
            replace::Progress::Finished { unreadable, unwritten } => {
                Progress::Finished { unreadable, unwritten }
            }
        })
    }

    fn give_up(&self, mount: &Path) -> Result<(), CommandError> {
        replace::cancel(mount)
    }

    fn create_part(&self, path: &Path) -> Result<(), CommandError> {
        btrfs::create_subvolume(path)
    }

    fn is_part(&self, found: &Metadata) -> bool {
        found.is_dir() && found.ino() == SUBVOLUME_INODE
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

/// A device that is being written in the place of another has the number 0.
fn told(block: Superblock) -> Told {
    let Superblock { fsid, generation, devices, device, hidden, torn } = block;
    let number = (device != 0).then_some(device);
    Told { pool: fsid, number, generation, members: devices, hidden, torn }
}

fn live(found: btrfs_live::Live) -> Live {
    let btrfs_live::Live { devices, silent, targets, numbers, generation, missing, mut profiles } =
        found;
    profiles.retain(|spread| !spread.ends_with("/raid1"));
    Live { devices, silent, targets, numbers, generation, missing, single: profiles }
}

fn filled(usage: btrfs::Usage) -> Usage {
    let kind = |btrfs::Filled { size, used }| Filled { size, used };
    let btrfs::Usage { data, metadata, unallocated } = usage;
    Usage { data: kind(data), metadata: kind(metadata), unallocated }
}

/// How many writes each device did not take, flushes among them, by counters such as
/// `[/dev/mapper/a].write_io_errs`.
fn unwritten(counted: &BTreeMap<String, u64>) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    for (counter, count) in counted {
        let Some((node, kind)) = counter.strip_prefix('[').and_then(|it| it.rsplit_once("]."))
        else {
            continue;
        };
        if matches!(kind, "write_io_errs" | "flush_io_errs") {
            let sum: &mut u64 = all.entry(PathBuf::from(node)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    all
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

    #[test]
    fn f2_writes_and_flushes_that_the_new_disk_did_not_take_are_counted_and_those_of_others_not() {
        let counted = |lines: &[(&str, u64)]| {
            lines.iter().map(|(line, count)| ((*line).to_owned(), *count)).collect()
        };
        let all: BTreeMap<String, u64> = counted(&[
            ("[/dev/mapper/bedplate-two.1].write_io_errs", 3),
            ("[/dev/mapper/bedplate-two.1].flush_io_errs", 1),
            ("[/dev/mapper/bedplate-two.1].read_io_errs", 7),
            ("[/dev/mapper/bedplate-two].write_io_errs", 9),
            ("[/dev/mapper/bedplate-three].corruption_errs", 5),
        ]);
        let found = unwritten(&all);
        assert_ne!(found[Path::new("/dev/mapper/bedplate-two.1")], 11);
        assert_eq!(found[Path::new("/dev/mapper/bedplate-two.1")], 4);
        assert_eq!(found[Path::new("/dev/mapper/bedplate-two")], 9);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn what_a_superblock_says_is_told_in_words_of_pools() {
        let fsid = Uuid::from_u128(7);
        let block = |device| {
            let (hidden, torn) = (device == 3, device == 2);
            Superblock { fsid, generation: 9, devices: 4, device, hidden, torn }
        };
        assert_eq!(
            told(block(0)).number,
            None,
            "one that is being written is none of the pool yet"
        );
        let says = |number, hidden, torn| {
            let number = Some(number);
            Told { pool: fsid, number, generation: 9, members: 4, hidden, torn }
        };
        assert_eq!(told(block(2)), says(2, false, true));
        assert_eq!(told(block(3)), says(3, true, false));
    }

    #[test]
    fn what_is_not_in_two_copies_is_told() {
        let kinds = ["data/raid1", "data/single", "metadata/dup", "system/raid1"];
        let profiles = kinds.map(str::to_owned).into();
        let found = live(btrfs_live::Live { profiles, missing: 1, ..Default::default() });
        assert_eq!(found.single, ["data/single", "metadata/dup"].map(str::to_owned).into());
        assert_eq!(found.missing, 1);
    }
}
