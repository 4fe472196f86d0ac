//! Which disk of the machine each role is.

use super::fitness::NO_DISKS;
use super::kept;
use super::refusal::Refusal;
use crate::facts::{DiskFacts, Facts};
use crate::host::{Disk, HostFile, Stick, Wipe};
use crate::identity::{Purpose, derive};

/// A role with the one disk its id names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) role: &'a str,
    pub(super) disk: &'a Disk,
    pub(super) facts: &'a DiskFacts,
    /// What the disk is for.
    pub(super) part: Part,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
fn roles(host: &HostFile) -> impl Iterator<Item = (&str, Part)> {
    let mirror = host.os.esp_mirror.as_deref();
    let members = || host.pools.values().flat_map(|pool| pool.disks.iter().map(String::as_str));
    let own = mirror.filter(|role| !members().any(|member| member == *role));
    let part = move |role| if Some(role) == mirror { Part::MirrorMember } else { Part::Member };
    std::iter::once((host.os.disk.as_str(), Part::Os))
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
    for (role, part) in roles(host) {
        let Some(disk) = host.disks.get(role) else { continue };
        let mut named = facts.disks.iter().filter(|facts| facts.by_id.contains(&disk.id));
        match (named.next(), named.next()) {
            (Some(facts), None) => chosen.push(Choice { role, disk, facts, part }),
            (Some(_), Some(_)) => refusals.push(Refusal::disk(
                role,
                &disk.id,
                "two disks answer to this id".into(),
                "choose another name of the disk under /dev/disk/by-id, such as its wwn",
            )),
            (None, _) => refusals.push(missing(role, disk, host, facts)),
        }
    }
    chosen
}

/// Text that a device gave, fit for a terminal (T18).
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

fn missing(role: &str, disk: &Disk, host: &HostFile, facts: &Facts) -> Refusal {
    if facts.disks.iter().any(|facts| facts.partition_by_id.contains(&disk.id)) {
        let help = "write the id of the whole disk";
        return Refusal::disk(role, &disk.id, "this id names a partition".into(), help);
    }
    let stick = |disk: &DiskFacts| host.unlock.sticks.iter().any(|stick| is_stick(stick, disk));
    let mut free: Vec<String> = facts
        .disks
        .iter()
        .filter(|facts| !host.disks.values().any(|disk| facts.by_id.contains(&disk.id)))
        .filter(|disk| !stick(disk) && !NO_DISKS.contains(&disk.transport.as_str()))
        .filter(|disk| facts.boot_medium.as_ref() != Some(&disk.kernel_name))
        .filter_map(|facts| facts.by_id.iter().min_by_key(|name| (name.starts_with("wwn-"), *name)))
        .map(|name| shown(name))
        .collect();
    free.sort_unstable();
    let help = if let Some(pool) = kept::finished_pool(host, facts, role) {
        format!(
            "connect the disk; if it is lost, boot the installed system: \
             `bedplate-host pool replace` gives the finished pool `{pool}` a new member"
        )
    } else if free.is_empty() {
        "connect the disk; every disk of the machine has a role already".to_owned()
    } else {
        format!("connect the disk, or choose one without a role: {}", free.join(", "))
    };
    Refusal::disk(role, &disk.id, "there is no such disk in this machine".into(), help)
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
        for other in facts.disks.iter().filter(|other| clone_of(choice.facts, other)) {
            let message = format!("another disk reports the same serial: {}", name_of(other));
            refusals.push(
                choice.refuse(
                    message,
                    "disconnect one of them, or choose disks that can be told apart",
                ),
            );
        }
        if host.unlock.sticks.iter().any(|stick| is_stick(stick, choice.facts)) {
            refusals.push(
                choice.refuse(
                    "this is the key stick".into(),
                    "a key stick is no disk of the machine",
                ),
            );
        }
    }
    refusals.extend(chosen.iter().filter_map(|choice| cloned(choice, chosen, host, facts)));
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
    }
}

fn is_stick(stick: &Stick, disk: &DiskFacts) -> bool {
    stick.id.as_ref().is_some_and(|id| disk.by_id.contains(id)) || carries(disk, &stick.volume_id)
}

fn carries(disk: &DiskFacts, volume_id: &str) -> bool {
    disk.signatures.iter().any(|signature| {
        signature.kind == "vfat"
            && signature.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(volume_id))
    })
}

/// Another disk with the identity that this one has or gets: the kernel's names by UUID, and the
/// boot, could mean either (T10).
fn cloned(
    choice: &Choice<'_>,
    chosen: &[Choice<'_>],
    host: &HostFile,
    facts: &Facts,
) -> Option<Refusal> {
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
    let others = facts.disks.iter().filter(|disk| !chosen.iter().any(|c| same(c.facts, disk)));
    let other = others.filter(|disk| has(disk)).map(name_of).min()?;
    Some(choice.refuse(
        format!("another disk carries the identity of this one, as a copy does: {other}"),
        "disconnect the copy, or erase it with `wipefs`",
    ))
}

/// The name of a disk that has no role.
fn name_of(disk: &DiskFacts) -> String {
    shown(disk.by_id.iter().min().unwrap_or(&disk.kernel_name))
}

/// Some firmware reports an empty string for a name it does not have.
fn told(name: &Option<String>) -> Option<&str> {
    name.as_deref().filter(|name| !name.trim().is_empty())
}

fn both_equal<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && a == b
}

/// Whether two entries are one disk, whatever their names (T02).
fn same(a: &DiskFacts, b: &DiskFacts) -> bool {
    a.number == b.number
        || both_equal(&told(&a.wwn), &told(&b.wwn))
        || both_equal(&a.diskseq, &b.diskseq)
}

/// Whether another disk cannot be told from this one by its serial (T04).
fn clone_of(disk: &DiskFacts, other: &DiskFacts) -> bool {
    let told_apart_by_wwn =
        told(&disk.wwn).is_some() && told(&other.wwn).is_some() && disk.wwn != other.wwn;
    disk.number != other.number
        && both_equal(&told(&disk.serial), &told(&other.serial))
        && !told_apart_by_wwn
}
