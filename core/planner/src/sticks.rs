//! Key sticks: which disk one is, and whether its name can stand for another (T10, T56).

use super::naming;
use super::refusal::Refusal;
use super::twins::clone_of;
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{HostFile, Stick};

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
            && let Some((message, help)) = stick_fault(id, facts)
        {
            let message = format!("key stick {} ({id}): {message}", stick.volume_id);
            refusals.push(Refusal::machine(message, help));
        }
    }
}

/// Why the disk that answers to this name must not become a key stick, and what to do about it.
pub fn stick_fault(id: &str, facts: &Facts) -> Option<(String, String)> {
    let named: Vec<&DiskFacts> = facts.disks.iter().filter(|disk| disk.has_id(id)).collect();
    let twins = facts.disks.iter().filter(|disk| {
        named.iter().any(|first| first.number == disk.number || clone_of(first, disk))
    });
    let mut twins: Vec<String> = twins.map(|disk| described(disk, facts)).collect();
    let booted = |disk: &&DiskFacts| facts.boot_medium.as_ref() == Some(&disk.kernel_name);
    if twins.len() > 1 {
        twins.sort_unstable();
        let message = format!("{} sticks share this name: {}", twins.len(), twins.join(", "));
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
