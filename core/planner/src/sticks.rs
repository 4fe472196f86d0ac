//! Key sticks: which disk one is, and whether its name can stand for another (T10, T56).

use std::collections::BTreeMap;

use super::fitness::NO_DISKS;
use super::refusal::Refusal;
use super::twins::clone_of;
use super::{content, naming};
use bedplate_events::shown::listed;
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{HostFile, Stick, Wipe};

/// Whether a disk is the key stick, by its name or by the volume on it.
pub(super) fn is_stick(stick: &Stick, disk: &DiskFacts) -> bool {
    stick.id.as_ref().is_some_and(|id| disk.has_id(id)) || carries(disk, &stick.volume_id)
}

fn carries(disk: &DiskFacts, volume_id: &str) -> bool {
    disk.signatures.iter().any(|signature| {
        signature.kind == "vfat"
            && signature.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(volume_id))
    })
}

/// Each stick of the document must be one stick of the machine, and no other one by mistake.
pub(super) fn check(host: &HostFile, facts: &Facts, refusals: &mut Vec<Refusal>) {
    for stick in &host.unlock.sticks {
        let carriers = facts.disks.iter().filter(|disk| carries(disk, &stick.volume_id)).count();
        if carriers > 1 {
            refusals.push(Refusal::machine(
                format!(
                    "{carriers} disks carry a file system with the key stick's volume id {}",
                    stick.volume_id
                ),
                "leave only the key stick connected",
            ));
        }
        // The id serves to make a stick that is not there yet.
        if let Some(id) = stick.id.as_ref().filter(|_| carriers == 0)
            && let Some((message, help)) =
                stick_fault(id, facts).or_else(|| unfit(id, &stick.volume_id, host, facts))
        {
            let message = format!("key stick {} ({id}): {message}", stick.volume_id);
            refusals.push(Refusal::machine(message, help));
        }
    }
    apart(host, facts, refusals);
}

/// A spare stick that is the first one under another name is no spare.
fn apart(host: &HostFile, facts: &Facts, refusals: &mut Vec<Refusal>) {
    let mut seen: BTreeMap<&str, &Stick> = BTreeMap::new();
    for stick in &host.unlock.sticks {
        let Some(disk) = facts.disks.iter().find(|disk| is_stick(stick, disk)) else { continue };
        let Some(first) = seen.insert(&disk.number, stick) else { continue };
        let message = format!(
            "the key sticks {} and {} are one stick: {}",
            first.volume_id,
            stick.volume_id,
            naming::described(disk)
        );
        refusals.push(Refusal::machine(message, "each key stick needs a device of its own"));
    }
}

/// Why the stick of this name would not be formatted: the installer looks at the same, and would
/// stop at its first step.
fn unfit(id: &str, volume_id: &str, host: &HostFile, facts: &Facts) -> Option<(String, String)> {
    // Beside what is kept no stick is made.
    if host.disks.values().any(|disk| disk.wipe == Wipe::Never) {
        return None;
    }
    let disk = facts.disks.iter().find(|disk| disk.has_id(id))?;
    let fault = |message: &str, help: &str| Some((message.to_owned(), help.to_owned()));
    if NO_DISKS.contains(&disk.transport.as_str()) {
        return fault("this is no stick", "write the id of a USB stick");
    }
    if disk.read_only {
        return fault("the stick is read-only", "remove its write protection, or take another");
    }
    if !disk.holders.is_empty() {
        return fault("the stick is in use", "unmount what is on it, or take another");
    }
    let foreign = disk.signatures.iter().any(|found| !found.is_unfinished(volume_id));
    foreign.then(|| {
        let message = format!("the stick is not blank: {}", content::lines(disk).join("; "));
        let help = "save what is on it and erase it with `wipefs`, or make the key stick with \
                    `bedplate key create`";
        (message, help.to_owned())
    })
}

/// Twins are looked for of so many disks under one name.
const MOST_COMPARED: usize = 8;

/// Why the disk that answers to this name must not become a key stick, and what to do about it.
pub fn stick_fault(id: &str, facts: &Facts) -> Option<(String, String)> {
    let named: Vec<&DiskFacts> = facts.disks.iter().filter(|disk| disk.has_id(id)).collect();
    // Of many under one name the first has been enough to know it.
    let few = &named[..named.len().min(MOST_COMPARED)];
    let twins = facts
        .disks
        .iter()
        .filter(|disk| disk.has_id(id) || few.iter().any(|first| clone_of(first, disk)));
    let mut twins: Vec<String> = twins.map(|disk| described(disk, facts)).collect();
    let booted = |disk: &&DiskFacts| facts.boot_medium.as_ref() == Some(&disk.kernel_name);
    if twins.len() > 1 {
        twins.sort_unstable();
        let all = listed(twins.iter(), ", ");
        let message = format!("{} sticks share this name: {all}", twins.len());
        let help = "leave only the one connected that is to become the key stick, or take a stick \
                    with a serial of its own";
        return Some((message, help.into()));
    }
    let disk = named.first()?;
    if booted(disk) {
        let message = "this is the medium the machine was booted from";
        return Some((message.into(), "write the id of another stick for the keys".into()));
    }
    naming::wrong(id, disk, facts)
}

fn described(disk: &DiskFacts, facts: &Facts) -> String {
    let booted = facts.boot_medium.as_ref() == Some(&disk.kernel_name);
    let what = if booted { "the booted medium" } else { "a stick" };
    format!("{what} {}", naming::described(disk))
}
