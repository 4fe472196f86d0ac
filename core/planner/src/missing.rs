//! What is said of a role whose id names no disk of the machine.

use std::collections::BTreeSet;

use super::choose::{Part, shown};
use super::refusal::Refusal;
use super::{fitness, kept, naming, sticks};
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{Disk, HostFile};
use bedplate_model::name::Role;
use bedplate_model::size;

/// More disks are not listed.
const MOST_LISTED: usize = 12;

pub(super) fn refusal(
    role: &Role,
    part: Part,
    disk: &Disk,
    host: &HostFile,
    facts: &Facts,
) -> Refusal {
    if facts.disks.iter().any(|facts| facts.partition_by_id.iter().any(|name| disk.id == *name)) {
        let help = "write the id of the whole disk";
        return Refusal::disk(role, &disk.id, "this id names a partition".into(), help);
    }
    if let Some((message, help)) = renamed(role, host, facts) {
        return Refusal::disk(role, &disk.id, message, help);
    }
    if let Some(what) = naming::of_content(&disk.id) {
        let message = format!("this is no name of a disk but of what stood on it ({what})");
        let help = choices(part, host, facts);
        return Refusal::disk(role, &disk.id, message, help);
    }
    let help = match kept::finished_pool(host, facts, role) {
        Some(pool) => format!(
            "connect the disk; if it is lost, boot the installed system: \
             `bedplate-host pool replace` gives the finished pool `{pool}` a new member"
        ),
        None => format!("connect the disk{}", choices(part, host, facts)),
    };
    Refusal::disk(role, &disk.id, "there is no such disk in this machine".into(), help)
}

/// The role's own finished volume is there, on a disk of another name.
pub(super) fn renamed(role: &Role, host: &HostFile, facts: &Facts) -> Option<(String, String)> {
    let mut own = facts.disks.iter().filter(|disk| kept::volume(host, role, disk).is_some());
    let (Some(disk), None) = (own.next(), own.next()) else { return None };
    let here = naming::described(disk);
    let message = format!("the finished volume of `{role}` is on another disk: {here}");
    let help = match naming::best(disk, facts) {
        Some(name) => format!("write `id = \"{}\"` in `[disks.{role}]`", shown(name)),
        None => naming::how_to_name(disk).to_owned(),
    };
    Some((message, help))
}

/// The disks that could take the role, by names that stay with them.
fn choices(part: Part, host: &HostFile, facts: &Facts) -> String {
    let ids: BTreeSet<&str> = host.disks.values().map(|disk| disk.id.as_str()).collect();
    let taken = |disk: &DiskFacts| disk.by_id.iter().any(|id| ids.contains(id.as_str()));
    let stick = |disk: &DiskFacts| host.unlock.sticks.iter().any(|it| sticks::is_stick(it, disk));
    let free = facts.disks.iter().filter(|disk| !taken(disk) && !stick(disk));
    let (fit, unfit): (Vec<_>, Vec<_>) = free.partition(|disk| fitness::fits(part, disk, facts));
    let (named, nameless): (Vec<_>, Vec<_>) =
        fit.into_iter().partition(|disk| naming::best(disk, facts).is_some());
    let names = named.iter().filter_map(|disk| naming::best(disk, facts)).map(shown).collect();
    let mut said = Vec::new();
    if !named.is_empty() {
        said.push(format!(", or choose one without a role: {}", listed(names)));
    }
    let without = |disk: &&DiskFacts| {
        let (name, size) = (shown(&disk.kernel_name), size::show(disk.size));
        format!("{name} ({size})")
    };
    if let Some(first) = nameless.first() {
        let all = listed(nameless.iter().map(without).collect());
        let how = naming::how_to_name(first);
        said.push(format!("; no name under /dev/disk/by-id has {all}: {how}"));
    }
    match (said.is_empty(), unfit.is_empty()) {
        (true, true) => "; every disk of the machine has a role already".to_owned(),
        (true, false) => "; no other disk of the machine can take the role".to_owned(),
        (false, _) => said.concat(),
    }
}

fn listed(mut names: Vec<String>) -> String {
    names.sort_unstable();
    let more = names.len().saturating_sub(MOST_LISTED);
    names.truncate(MOST_LISTED);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names}, and {more} more") }
}
