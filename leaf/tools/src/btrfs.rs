//! btrfs-progs, and what a member says about its file system.

pub mod replace;
mod superblock;
mod usage;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{CommandError, CommandExt as _, LOOK};
pub use superblock::{COPIES, LENGTH, Renaming, Superblock, hide, show};
pub use usage::{Filled, Usage};

/// Makes a file system over the members; everything on them is lost.
pub fn make(
    members: &[PathBuf],
    label: &str,
    fsid: &str,
    data: &str,
    metadata: &str,
) -> Result<(), CommandError> {
    Command::new("mkfs.btrfs")
        .args(["-q", "-f", "-K", "-L", label, "-U", fsid, "-d", data, "-m", metadata])
        .args(members)
        .run()
}

/// Loads the module and tells it of these members: looking at every device of the machine for more
/// takes longer than a file system takes to be made.
pub fn scan(members: &[PathBuf]) -> Result<(), CommandError> {
    if !is_loaded() {
        Command::new("modprobe").arg("btrfs").run()?;
    }
    Command::new("btrfs").args(["device", "scan"]).args(members).run()
}

fn is_loaded() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.split_whitespace().any(|word| word == "btrfs")
}

/// Makes the kernel forget one member that is not mounted. It is no matter when it knew none.
pub fn forget_one(device: &Path) -> Result<(), CommandError> {
    let forgotten = Command::new("btrfs").args(["device", "scan", "--forget"]).arg(device).run();
    match forgotten {
        Err(CommandError::Failed { .. }) => Ok(()),
        other => other,
    }
}

/// Creates a subvolume.
pub fn create_subvolume(path: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "create"]).arg(path).run()
}

/// How long a snapshot may take: what was written before is flushed first. Guests are held meanwhile.
const SNAPSHOT: Duration = Duration::from_secs(120);

/// Makes a read-only snapshot of the subvolume `from`.
pub fn snapshot_read_only(from: &Path, to: &Path) -> Result<(), CommandError> {
    let mut command = Command::new("btrfs");
    command.args(["subvolume", "snapshot", "-r"]).arg(from).arg(to);
    command.read_within(SNAPSHOT, &[]).map(drop)
}

/// Deletes a subvolume or snapshot.
pub fn delete_subvolume(path: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "delete"]).arg(path).run()
}

/// Waits until the room of all subvolumes that were deleted is free again: btrfs gives it back later.
pub fn wait_for_deleted(mount: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["subvolume", "sync"]).arg(mount).run()
}

/// The subvolumes directly inside the one at `path`, as paths from the top of the file system.
pub fn subvolumes_in(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let text = Command::new("btrfs").args(["subvolume", "list", "-o"]).arg(path).read_bytes()?;
    listed(&text).ok_or_else(|| CommandError::NotUnderstood { program: "btrfs".into() })
}

/// More subvolumes than this in one are no list of btrfs-progs.
const MOST_LISTED: usize = 100_000;

/// The paths of lines such as `ID 256 gen 7 top level 5 path d/two words`. A name may hold a line
/// feed: what does not begin as a line does goes on with the name before.
fn listed(text: &[u8]) -> Option<Vec<PathBuf>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return Some(Vec::new());
    }
    for line in text.split(|byte| *byte == b'\n') {
        match entry(line) {
            Some(name) if names.len() < MOST_LISTED => names.push(name.to_owned()),
            Some(_) => return None,
            None => {
                let before = names.last_mut()?;
                before.push(b'\n');
                before.extend_from_slice(line);
            }
        }
    }
    Some(names.into_iter().map(|name| OsString::from_vec(name).into()).collect())
}

/// The path of one line.
fn entry(line: &[u8]) -> Option<&[u8]> {
    let rest = number(line.strip_prefix(b"ID ")?)?;
    let rest = number(rest.strip_prefix(b" gen ")?)?;
    number(rest.strip_prefix(b" top level ")?)?.strip_prefix(b" path ")
}

/// What follows a number.
fn number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(digits..).filter(|_| digits > 0)
}

/// What only one may do at a time waits for its turn: a balance that was cut off goes on by itself
/// when the file system is mounted again.
const IN_TURN: &str = "--enqueue";

/// Adds a blank device to a mounted file system.
pub fn add_device(device: &Path, mount: &Path) -> Result<(), CommandError> {
    // Without a discard of the whole device: it is blank, and large ones take long.
    Command::new("btrfs").args(["device", "add", "-K", IN_TURN]).arg(device).arg(mount).run()
}

/// Moves everything off a device and takes it out. It is named by its node, or by its number also when
/// it is not there.
pub fn remove_device(device: &str, mount: &Path) -> Result<(), CommandError> {
    remove_device_meanwhile(device, mount, &mut || ())
}

/// As [`remove_device`]; `meanwhile` is called every [`LOOK`].
pub fn remove_device_meanwhile(
    device: &str,
    mount: &Path,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), CommandError> {
    let mut command = Command::new("btrfs");
    command.args(["device", "remove", IN_TURN, device]).arg(mount);
    command.run_meanwhile(LOOK, meanwhile)
}

/// Makes every chunk that is not RAID1 a RAID1 chunk.
pub fn convert_to_raid1(mount: &Path) -> Result<(), CommandError> {
    convert_to_raid1_meanwhile(mount, &mut || ())
}

/// As [`convert_to_raid1`]; `meanwhile` is called every [`LOOK`].
pub fn convert_to_raid1_meanwhile(
    mount: &Path,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), CommandError> {
    let filters = ["-dconvert=raid1,soft", "-mconvert=raid1,soft"];
    let mut command = Command::new("btrfs");
    command.args(["balance", "start", IN_TURN]).args(filters).arg(mount);
    command.run_meanwhile(LOOK, meanwhile)
}

/// Empties chunks that are at most half full into one another, so that their room can be allocated anew.
fn gather_meanwhile(mount: &Path, meanwhile: &mut dyn FnMut()) -> Result<(), CommandError> {
    let filters = ["-dusage=50", "-musage=50"];
    let mut command = Command::new("btrfs");
    command.args(["balance", "start", IN_TURN]).args(filters).arg(mount);
    command.run_meanwhile(LOOK, meanwhile)
}

/// Lets a mounted file system of one device use all of that device.
pub fn grow(mount: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["filesystem", "resize", "max"]).arg(mount).run()
}

/// Reads everything and repairs what one copy has wrong; returns when it is done.
pub fn scrub(mount: &Path) -> Result<String, CommandError> {
    Command::new("btrfs").args(["scrub", "start", "-B"]).arg(mount).read()
}

/// Numbers of the devices that a mounted file system lacks.
pub fn missing_devices(mount: &Path) -> Result<Vec<u64>, CommandError> {
    let text = Command::new("btrfs").args(["filesystem", "show", "--raw"]).arg(mount).read()?;
    Ok(missing(&text))
}

/// The numbers of lines such as `devid    2 size 0 used 0 path  MISSING`.
fn missing(text: &str) -> Vec<u64> {
    let lacks = text.lines().filter(|line| line.trim_end().ends_with("MISSING"));
    lacks
        .filter_map(|line| {
            line.trim().strip_prefix("devid")?.split_whitespace().next()?.parse().ok()
        })
        .collect()
}

/// How many errors the devices of a mounted file system have counted since somebody set them to zero, by
/// device and kind.
pub fn errors(mount: &Path) -> Result<BTreeMap<String, u64>, CommandError> {
    let text = Command::new("btrfs").args(["device", "stats"]).arg(mount).read()?;
    Ok(counted(&text))
}

/// The numbers of lines such as `[/dev/mapper/a].write_io_errs    3`.
fn counted(text: &str) -> BTreeMap<String, u64> {
    let counter = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

/// How full a mounted file system is, and what it can still allocate.
pub fn usage(mount: &Path) -> Result<Usage, CommandError> {
    let text = Command::new("btrfs").args(["filesystem", "usage", "-b"]).arg(mount).read()?;
    usage::parsed(&text).ok_or_else(|| CommandError::NotUnderstood { program: "btrfs".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_subvolumes_are_read_whatever_their_names_hold() {
        // Of btrfs-progs 6.2.
        let text = b"ID 256 gen 7 top level 5 path photos\n\
            ID 257 gen 7 top level 5 path d/two words path x\n\
            ID 261 gen 8 top level 5 path d/a\nb\n\
            ID 262 gen 8 top level 5 path \xff\n";
        let found: Vec<_> = listed(text)
            .unwrap()
            .into_iter()
            .map(|path| path.into_os_string().into_vec())
            .collect();
        assert_eq!(found, [&b"photos"[..], b"d/two words path x", b"d/a\nb", b"\xff"]);
        assert!(listed(b"").unwrap().is_empty());
        for other in [&b"no list\n"[..], b"\n\n", b"ID  gen 7 top level 5 path a\n"] {
            assert_eq!(listed(other), None, "{other:?}");
        }
        assert!(listed(&b"ID 1 gen 1 top level 5 path a\n".repeat(MOST_LISTED + 1)).is_none());
    }

    #[test]
    fn t44_the_number_of_what_is_missing_is_read() {
        // Of btrfs-progs 6.2 and 6.14.
        let text = "Label: none  uuid: 630e3413-5359-499f-bbd0-2b0736c8000f\n\tTotal devices 2 FS bytes used 1\n\
            \tdevid    1 size 2147483648 used 1 path /dev/mapper/bedplate-a\n\
            \tdevid    2 size 0 used 0 path  MISSING\n\tdevid    3 size 0 used 0 path <missing disk> MISSING\n";
        assert_eq!(missing(text), [2, 3]);
        assert_eq!(missing("what else\n"), [] as [u64; 0]);
    }

    #[test]
    fn errors_of_all_devices_are_counted() {
        let text = "[/dev/mapper/a].write_io_errs    0\n[/dev/mapper/b].read_io_errs     2\n\
                    [/dev/mapper/b].corruption_errs  1\n";
        let found = counted(text);
        assert_eq!(found.len(), 3);
        assert_eq!(found["[/dev/mapper/b].read_io_errs"], 2);
    }
}
