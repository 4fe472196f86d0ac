//! The logs of a failed installation, on the key stick.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_keystick as keystick;
use bedplate_model::host::Stick;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::{Access, Mount, unmount};

use crate::context::STICK;
use crate::error::{During as _, StepError};

/// Directory of the logs on the stick; each boot of the medium has one of its own below it.
const LOGS: &str = "bedplate/logs";

/// The most of the journal that is kept, in bytes: its end says why.
const JOURNAL: usize = 4 << 20;

/// Saves the events in the file `events` and the journal on the first key stick that can be
/// written; returns where.
pub fn save(events: &Path, sticks: &[Stick]) -> Result<String, StepError> {
    let stick = Path::new(STICK);
    if !is_mounted(stick)? {
        mount(stick, sticks)?;
    }
    let saved = write(events, stick);
    // The stick may be pulled at any moment from now on.
    let unmounted = unmount(stick).during("could not unmount the key stick");
    saved.and_then(|directory| unmounted.map(|()| directory))
}

fn is_mounted(place: &Path) -> Result<bool, StepError> {
    let table = fs::read_to_string("/proc/self/mountinfo").during("could not read the mounts")?;
    Ok(table.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(place)))
}

fn mount(place: &Path, sticks: &[Stick]) -> Result<(), StepError> {
    let nodes = sticks.iter().map(|stick| Path::new("/dev/disk/by-uuid").join(&stick.volume_id));
    let Some(node) = nodes.into_iter().find(|node| node.exists()) else {
        return Err(StepError::new("no key stick is plugged in"));
    };
    fs::create_dir_all(place).during("could not make the stick's mount point")?;
    Mount {
        source: &node.display().to_string(),
        target: place,
        kind: "vfat",
        access: Access::ReadWrite,
        options: "umask=0077",
    }
    .mount_restricted()
    .during("could not mount the key stick")
}

fn write(events: &Path, stick: &Path) -> Result<String, StepError> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let directory: PathBuf = Path::new(LOGS).join(boot.get(..8).unwrap_or("boot"));
    let what = || format!("could not write {}", directory.display());
    let place = |name: &str| directory.join(name).display().to_string();
    let content = fs::read(events).during("could not read the events")?;
    keystick::write(stick, &place("events.jsonl"), &content).during(what())?;
    let journal = Command::new("journalctl")
        .args(["--boot", "--no-pager", "--output=short-monotonic"])
        .read()
        .during("could not read the journal")?;
    let journal = journal.as_bytes();
    let end = journal.get(journal.len().saturating_sub(JOURNAL)..).unwrap_or_default();
    keystick::write(stick, &place("journal.log"), end).during(what())?;
    Ok(directory.display().to_string())
}
