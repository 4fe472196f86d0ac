//! Whether a disk may and can be used at all, whatever stands on it.

use super::choose::{Choice, Part, shown};
use super::refusal::Refusal;
use bedplate_events::shown::listed;
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{HostFile, Platform};
use bedplate_model::size;

/// The smallest OS disk: an ESP, a store with two generations, and room to work.
pub(super) const OS_MINIMUM: u64 = 4 << 30;
/// The smallest pool member: LUKS and btrfs take about 150 MiB before any data.
pub(super) const MEMBER_MINIMUM: u64 = 256 << 20;
/// Room for the partition table at both ends of a disk.
const GPT_ROOM: u64 = 3 << 20;
/// FAT32 needs 65525 clusters, which are 4 KiB each on disks with 4 KiB sectors.
const ESP_MINIMUM_4K: u64 = 260 << 20;
/// Room beside two generations of the system: file system, logs, builds.
const OS_WORK: u64 = 1 << 30;
/// Nothing can be installed to these.
pub(super) const NO_DISKS: [&str; 10] =
    ["loop", "zram", "ram", "optical", "floppy", "md", "dm", "bcache", "drbd", "zvol"];

pub(super) fn disks(
    chosen: &[Choice<'_>],
    host: &HostFile,
    facts: &Facts,
    refusals: &mut Vec<Refusal>,
) {
    for choice in chosen {
        refusals.extend(usable(choice, facts));
        refusals.extend(identity(choice));
        // What is kept is not laid out anew.
        if !choice.kept() {
            refusals.extend(geometry(choice, host));
        }
        refusals.extend(room(choice, host, facts));
    }
}

/// The boot medium, read-only disks, and disks in use (T01, T05).
fn usable(choice: &Choice<'_>, facts: &Facts) -> Vec<Refusal> {
    let disk = choice.facts;
    let mut refusals = Vec::new();
    if facts.boot_medium.as_ref() == Some(&disk.kernel_name) {
        refusals.push(choice.refuse(
            "this is the medium the machine was booted from".into(),
            "choose another disk",
        ));
    }
    if NO_DISKS.contains(&disk.transport.as_str()) {
        let message = format!("this is no disk but a device of kind `{}`", shown(&disk.transport));
        refusals.push(choice.refuse(message, "choose the disks underneath"));
    }
    if disk.read_only {
        refusals.push(choice.refuse("the disk is read-only".into(), "remove its write protection"));
    }
    let reach = reach(choice.part, disk);
    refusals.extend(reach.into_iter().map(|(message, help)| choice.refuse(message, help)));
    if !disk.holders.is_empty() {
        let mut holders: Vec<String> = disk.holders.iter().map(|holder| shown(holder)).collect();
        holders.sort_unstable();
        let message = format!("the disk is in use: {}", listed(holders.iter(), ", "));
        refusals.push(choice.refuse(message, "unmount, close or stop what uses it"));
    }
    refusals
}

/// Kernel modules of disks that are reached over a network, or what such disks are, and what they
/// are called.
const NETWORKED: [(&str, &str); 14] = [
    ("aoe", "AoE"),
    ("fcoe", "FCoE"),
    ("nvme_fc", "NVMe/FC"),
    ("be2iscsi", "iSCSI"),
    ("bnx2i", "iSCSI"),
    ("cxgb3i", "iSCSI"),
    ("cxgb4i", "iSCSI"),
    ("qla4xxx", "iSCSI"),
    ("nvme_tcp", "NVMe/TCP"),
    ("nvme_rdma", "NVMe/RDMA"),
    ("iscsi_tcp", "iSCSI"),
    ("ib_iser", "iSCSI"),
    ("nbd", "NBD"),
    ("rbd", "Ceph"),
];

/// By what a disk is reached over a network; none for a disk of the machine itself.
pub(super) fn network(disk: &DiskFacts) -> Option<String> {
    let named = |name: &str| {
        let known = NETWORKED.iter().find(|(module, _)| *module == name);
        known.map(|(_, name)| (*name).to_owned())
    };
    let told = disk.network.as_deref().map(|network| match network {
        "iscsi" => "iSCSI".to_owned(),
        of_nvme => format!("NVMe/{}", shown(of_nvme).to_uppercase()),
    });
    told.or_else(|| named(&disk.transport))
        .or_else(|| disk.modules.iter().find_map(|module| named(module)))
}

/// Disks that could hold nothing here, however they are laid out (T56).
fn reach(part: Part, disk: &DiskFacts) -> Vec<(String, &'static str)> {
    let mut reasons = Vec::new();
    let boots = matches!(part, Part::Os | Part::Mirror | Part::MirrorMember);
    if let Some(network) = network(disk).filter(|_| boots) {
        let message =
            format!("the disk is reached over the network ({network}), which comes up after it");
        reasons.push((message, "choose a disk of the machine itself"));
    }
    if disk.zoned.as_deref() == Some("host-managed") {
        let message = "the disk is zoned and host-managed: it takes no writes but in order";
        reasons.push((message.to_owned(), "choose a disk that takes writes anywhere"));
    }
    reasons
}

/// Whether a disk could take a role of this kind: what is suggested must not be refused then.
pub(super) fn fits(part: Part, disk: &DiskFacts, facts: &Facts) -> bool {
    let least = match part {
        Part::Os => OS_MINIMUM,
        Part::Member | Part::MirrorMember => MEMBER_MINIMUM,
        Part::Mirror => ESP_MINIMUM_4K,
    };
    !disk.read_only
        && disk.holders.is_empty()
        && disk.size >= least
        && matches!(disk.sector_size, 512 | 4096)
        && !NO_DISKS.contains(&disk.transport.as_str())
        && facts.boot_medium.as_ref() != Some(&disk.kernel_name)
        && reach(part, disk).is_empty()
}

/// `expect_serial` and `expect_size`.
fn identity(choice: &Choice<'_>) -> Vec<Refusal> {
    let (disk, facts) = (choice.disk, choice.facts);
    let mut refusals = Vec::new();
    if let Some(expected) =
        disk.expect_serial.as_ref().filter(|serial| facts.serial.as_ref() != Some(serial))
    {
        let found = facts
            .serial
            .as_deref()
            .map_or("none".to_owned(), |serial| format!("`{}`", shown(serial)));
        let message = format!("its serial is {found}, but `expect_serial` is `{expected}`");
        refusals.push(
            choice
                .refuse(message, "check that this is the right disk, then correct `expect_serial`"),
        );
    }
    if let Some(expected) = disk.expect_size.filter(|size| !size::matches(*size, facts.size)) {
        // Where only their bytes tell two sizes apart, these stand there already.
        let rounded =
            |size: String| if size.ends_with(" B") { String::new() } else { format!(" ({size})") };
        let (has, wanted) = size::show_apart(facts.size, expected);
        let message = format!(
            "it has {} bytes{}, but `expect_size` is {expected} bytes{}",
            facts.size,
            rounded(has),
            rounded(wanted)
        );
        refusals.push(
            choice.refuse(message, "check that this is the right disk, then correct `expect_size`"),
        );
    }
    refusals
}

/// Too small, or sectors that are not supported (T08).
fn geometry(choice: &Choice<'_>, host: &HostFile) -> Vec<Refusal> {
    let facts = choice.facts;
    let mut refusals = Vec::new();
    let minimum = match choice.part {
        Part::Os => OS_MINIMUM.max(host.os.esp_size.saturating_add(OS_MINIMUM / 2)),
        Part::Member => MEMBER_MINIMUM,
        Part::MirrorMember => MEMBER_MINIMUM.saturating_add(host.os.esp_size),
        Part::Mirror => host.os.esp_size.saturating_add(GPT_ROOM),
    };
    if facts.size < minimum {
        let message = format!("it has {} bytes, {minimum} are needed here", facts.size);
        refusals.push(choice.refuse(message, "choose a larger disk"));
    }
    if !matches!(facts.sector_size, 512 | 4096) {
        let message =
            format!("its sectors have {} bytes; 512 and 4096 are supported", facts.sector_size);
        refusals
            .push(choice.refuse(message, "reformat the disk to one of these, or choose another"));
    }
    if choice.part.esp().is_some() && facts.sector_size == 4096 && host.os.esp_size < ESP_MINIMUM_4K
    {
        let message = format!(
            "`os.esp_size` is {} bytes, too small for sectors of 4096 bytes",
            host.os.esp_size
        );
        refusals.push(choice.refuse(message, "write `esp_size = \"260MiB\"` or more"));
    }
    refusals
}

/// Too small for the system on the medium (F8).
fn room(choice: &Choice<'_>, host: &HostFile, facts: &Facts) -> Option<Refusal> {
    let held = match host.host.platform {
        Platform::Embedded => facts.closure_bytes,
        Platform::Nixos => facts.built_bytes,
    };
    let closure = held.filter(|_| choice.part == Part::Os)?;
    let needed = [closure, closure, OS_WORK]
        .iter()
        .fold(host.os.esp_size, |sum, more| sum.saturating_add(*more));
    (choice.facts.size < needed).then(|| {
        let (has, needed) = size::show_apart(choice.facts.size, needed);
        let message = format!(
            "it has {has}, but the system needs {needed}: {} for the EFI system partition, twice \
             {} for two generations, and room to work",
            size::show(host.os.esp_size),
            size::show(closure)
        );
        choice.refuse(message, "choose a larger disk")
    })
}
