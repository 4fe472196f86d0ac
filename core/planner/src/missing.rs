//! What is said of a role whose id names no disk of the machine.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{Part, shown};
use super::refusal::Refusal;
use super::twins::{clone_of, same};
use super::{fitness, kept, naming, sticks};
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{Disk, HostFile};
use bedplate_model::name::Role;
use bedplate_model::size;

/// So many disks are looked at for a name: whoever has more finds one among them.
const MOST_NAMED: usize = 50;

pub(super) fn refusal(role: &Role, part: Part, disk: &Disk, choices: &mut Choices<'_>) -> Refusal {
    let Choices { host, facts, .. } = *choices;
    if facts.disks.iter().any(|facts| facts.partition_by_id.iter().any(|name| disk.id == *name)) {
        let help = "write the id of the whole disk";
        return Refusal::disk(role, &disk.id, "this id names a partition".into(), help);
    }
    if let Some((message, help)) = renamed(role, host, facts) {
        return Refusal::disk(role, &disk.id, message, help);
    }
    if let Some(what) = naming::of_content(&disk.id) {
        let message = format!("this is no name of a disk but of what stood on it ({what})");
        let help = format!("write the name of the disk itself{}", choices.of(part));
        return Refusal::disk(role, &disk.id, message, help);
    }
    let help = match kept::finished_pool(host, facts, role) {
        Some(pool) => format!(
            "connect the disk; if it is lost, boot the installed system: \
             `bedplate-host pool replace` gives the finished pool `{pool}` a new member"
        ),
        None => format!("connect the disk{}", choices.of(part)),
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

/// The disks that could take a role, looked for once for each kind of role.
pub(super) struct Choices<'a> {
    host: &'a HostFile,
    facts: &'a Facts,
    said: BTreeMap<Part, String>,
}

impl<'a> Choices<'a> {
    pub(super) fn new(host: &'a HostFile, facts: &'a Facts) -> Self {
        Self { host, facts, said: BTreeMap::new() }
    }

    fn of(&mut self, part: Part) -> &str {
        let Self { host, facts, said } = self;
        said.entry(part).or_insert_with(|| choices(part, host, facts))
    }
}

/// The disks that could take the role, by names that stay with them.
fn choices(part: Part, host: &HostFile, facts: &Facts) -> String {
    let ids: BTreeSet<&str> = host.disks.values().map(|disk| disk.id.as_str()).collect();
    let (taken, free): (Vec<_>, Vec<_>) =
        facts.disks.iter().partition(|disk| disk.by_id.iter().any(|id| ids.contains(id.as_str())));
    let stick = |disk: &DiskFacts| host.unlock.sticks.iter().any(|it| sticks::is_stick(it, disk));
    let free = free.into_iter().filter(|disk| !stick(disk));
    let (mut fit, unfit): (Vec<_>, Vec<_>) =
        free.partition(|disk| fitness::fits(part, disk, facts));
    let more = naming::first(&mut fit, MOST_NAMED);
    // One that cannot be told from another, or is a second path to one that has a role, is refused.
    fit.retain(|disk| {
        !taken.iter().any(|other| same(disk, other))
            && !facts.disks.iter().any(|other| clone_of(disk, other))
    });
    let (named, nameless): (Vec<_>, Vec<_>) =
        fit.into_iter().partition(|disk| naming::best(disk, facts).is_some());
    let names = named.iter().filter_map(|disk| naming::best(disk, facts)).map(shown).collect();
    let mut said = Vec::new();
    if !named.is_empty() {
        said.push(format!(", or choose one without a role: {}", listed(names, more)));
    }
    let without = |disk: &&DiskFacts| {
        let (name, size) = (shown(&disk.kernel_name), size::show(disk.size));
        format!("{name} ({size})")
    };
    if let Some(first) = nameless.first() {
        let all = listed(nameless.iter().map(without).collect(), 0);
        let how = naming::how_to_name(first);
        said.push(format!("; no name under /dev/disk/by-id has {all}: {how}"));
    }
    match (said.is_empty(), unfit.is_empty()) {
        _ if facts.disks.is_empty() => "; the inventory has no disk at all".to_owned(),
        (true, true) => "; every disk of the machine has a role already".to_owned(),
        (true, false) => "; no other disk of the machine can take the role".to_owned(),
        (false, _) => said.concat(),
    }
}

/// Names in their order, and how many more there are beside the first and those not looked at.
fn listed(mut names: Vec<String>, beside: usize) -> String {
    names.sort_unstable();
    let more = names.len().saturating_sub(naming::MOST_LISTED) + beside;
    names.truncate(naming::MOST_LISTED);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names}, and {more} more") }
}
