//! Which disk of the machine each role is.

use super::naming::name_of;
use super::refusal::Refusal;
use super::twins::{clone_of, same};
use super::{missing, naming, sticks};
pub(super) use bedplate_events::shown::shown;
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{Disk, HostFile, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::name::Role;

/// A role with the one disk its id names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) role: &'a Role,
    pub(super) disk: &'a Disk,
    pub(super) facts: &'a DiskFacts,
    /// What the disk is for.
    pub(super) part: Part,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// ESP and OS.
    Os,
    /// Member of a pool.
    Member,
    /// Member of a pool behind a copy of the ESP.
    MirrorMember,
    /// Nothing but a copy of the ESP.
    Mirror,
}

impl Part {
    /// Number of the EFI system partition.
    pub(super) fn esp(self) -> Option<u32> {
        (self != Self::Member).then_some(1)
    }

    /// Number of the partition that holds LUKS.
    pub(super) fn luks(self) -> Option<u32> {
        match self {
            Self::Os | Self::MirrorMember => Some(2),
            Self::Member => Some(1),
            Self::Mirror => None,
        }
    }

    /// Whether a partition of this number is one of the disk's.
    pub(super) fn takes(self, number: u32) -> bool {
        [self.esp(), self.luks()].contains(&Some(number))
    }
}

impl Choice<'_> {
    /// Whether the disk is kept as it is.
    pub(super) fn kept(&self) -> bool {
        self.disk.wipe == Wipe::Never
    }

    pub(super) fn refuse(&self, message: String, help: impl Into<String>) -> Refusal {
        Refusal::disk(self.role, &self.disk.id, message, help)
    }
}

/// The roles in the order of the plan: the OS disk, a mirror of its own, then the pools' members
/// as written.
fn roles(host: &HostFile) -> impl Iterator<Item = (&Role, Part)> {
    let mirror = host.os.esp_mirror.as_ref();
    let members = || host.pools.values().flat_map(|pool| &pool.disks);
    let own = mirror.filter(|role| !members().any(|member| member == *role));
    let part = move |role| if Some(role) == mirror { Part::MirrorMember } else { Part::Member };
    std::iter::once((&host.os.disk, Part::Os))
        .chain(own.map(|role| (role, Part::Mirror)))
        .chain(members().map(move |role| (role, part(role))))
}

/// The disk of every role whose id names exactly one whole disk.
pub(super) fn disks<'a>(
    host: &'a HostFile,
    facts: &'a Facts,
    refusals: &mut Vec<Refusal>,
) -> Vec<Choice<'a>> {
    let mut chosen = Vec::new();
    let mut choices = missing::Choices::new(host, facts);
    for (role, part) in roles(host) {
        let Some(disk) = host.disks.get(role) else { continue };
        let mut named = facts.disks.iter().filter(|facts| facts.has_id(&disk.id));
        match (named.next(), named.next()) {
            (Some(facts), None) => chosen.push(Choice { role, disk, facts, part }),
            (Some(_), Some(_)) => refusals.push(Refusal::disk(
                role,
                &disk.id,
                "two disks answer to this id".into(),
                "choose another name of the disk under /dev/disk/by-id, such as its wwn",
            )),
            (None, _) => refusals.push(missing::refusal(role, part, disk, &mut choices)),
        }
    }
    chosen
}

/// Two roles must be two disks, and a role must be no key stick (T02, T04, T10).
pub(super) fn distinct(
    chosen: &[Choice<'_>],
    host: &HostFile,
    facts: &Facts,
    refusals: &mut Vec<Refusal>,
) {
    for (index, choice) in chosen.iter().enumerate() {
        if let Some(other) = chosen[..index].iter().find(|other| same(choice.facts, other.facts)) {
            let message = format!("this is the same disk as {} ({})", other.role, other.disk.id);
            refusals.push(choice.refuse(message, "each role needs a disk of its own"));
            continue;
        }
        refusals.extend(recognised(choice, facts));
        if host.unlock.sticks.iter().any(|stick| sticks::is_stick(stick, choice.facts)) {
            refusals.push(
                choice.refuse(
                    "this is the key stick".into(),
                    "a key stick is no disk of the machine",
                ),
            );
        }
    }
    let is_chosen = |disk: &DiskFacts| chosen.iter().any(|choice| same(choice.facts, disk));
    let others: Vec<&DiskFacts> = facts.disks.iter().filter(|disk| !is_chosen(disk)).collect();
    refusals.extend(chosen.iter().filter_map(|choice| cloned(choice, &others, host)));
    sticks::check(host, facts, refusals);
}

/// The disk is known by a name that stays with it, and can be told from every other (T04, T56).
pub(super) fn recognised(choice: &Choice<'_>, facts: &Facts) -> Vec<Refusal> {
    let clones = facts.disks.iter().filter(|other| clone_of(choice.facts, other));
    let clones: Vec<&DiskFacts> = clones.collect();
    let clone = (!clones.is_empty()).then(|| {
        let all = naming::several(clones, name_of);
        let message = format!("another disk reports the same serial: {all}");
        choice.refuse(message, "disconnect one of them, or choose disks that can be told apart")
    });
    let name = naming::wrong(&choice.disk.id, choice.facts, facts);
    let name = name.map(|(message, help)| choice.refuse(message, help));
    clone.into_iter().chain(name).collect()
}

/// Another disk with the identity that this one has or gets: the kernel's names by UUID, and the
/// boot, could mean either (T10).
fn cloned(choice: &Choice<'_>, others: &[&DiskFacts], host: &HostFile) -> Option<Refusal> {
    let id = host.host.id;
    let own = match &choice.facts.bedplate {
        Some(found) if choice.kept() => vec![found.luks_uuid.clone()],
        _ => [Purpose::GptDisk, Purpose::Luks]
            .map(|purpose| derive(id, purpose, choice.role, 0).to_string())
            .into(),
    };
    let has = |disk: &DiskFacts| {
        disk.signatures
            .iter()
            .filter_map(|found| found.uuid.as_ref())
            .any(|uuid| own.iter().any(|own| own.eq_ignore_ascii_case(uuid)))
    };
    let other = others.iter().filter(|disk| has(disk)).map(|disk| name_of(disk)).min()?;
    Some(choice.refuse(
        format!("another disk carries the identity of this one, as a copy does: {other}"),
        "disconnect the copy, or erase it with `wipefs`",
    ))
}
