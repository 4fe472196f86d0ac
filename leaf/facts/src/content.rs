//! What stands on a disk and its partitions: signatures as libblkid knows them, LUKS2 headers by
//! both their copies, and a look of our own at both ends of what seems blank.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use bedplate_model::facts::{Signature, TokenFacts, kind};
use bedplate_tools::luks2::{self, Copy, Header};
use bedplate_tools::partition_table;
use serde::Deserialize;

use super::boot_chain::is_bootable;
use super::disks::PartitionEntry;
use super::ends::{self, Extent};
use super::probe::{Finding, Probe};
use super::roots::Roots;

/// What libblkid calls a LUKS volume, and a VFAT file system.
const LUKS: &str = "crypto_LUKS";
const VFAT: &str = "vfat";
/// The type of our token in a LUKS2 header.
const TOKEN: &str = "bedplate";

/// A disk to look into.
pub struct Disk<'a> {
    /// Kernel name.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector_size: u32,
}

/// What stands on the disk, and what of it is ours.
pub fn of(
    roots: &Roots,
    probe: Probe,
    disk: &Disk<'_>,
    partitions: &[PartitionEntry],
) -> (Vec<Signature>, Option<TokenFacts>) {
    let node = |name: &str| roots.dev.join(name.replace('!', "/"));
    let mut look = Look::default();
    look.at_node(probe, None, &node(disk.name), disk.size);
    for part in partitions {
        look.at_node(probe, Some(part.number), &node(&part.name), part.size);
    }
    if partitions.is_empty() && look.signatures.iter().any(|found| found.kind == "gpt") {
        look.at_unseen(&node(disk.name), disk);
    }
    look.told()
}

#[derive(Default)]
struct Look {
    signatures: Vec<Signature>,
    bedplate: Option<TokenFacts>,
    /// Number of the partition that `bedplate` stands on.
    volume: Option<u32>,
    /// Number of the EFI system partition that was looked at, and whether it boots something.
    boots: Option<(u32, bool)>,
    /// Whether the kernel shows no partition of the table.
    unseen: bool,
}

impl Look {
    fn at_node(&mut self, probe: Probe, partition: Option<u32>, node: &Path, size: u64) {
        let found = signatures_of(probe, node);
        if let Some(number) = partition.filter(|_| found.iter().any(|one| one.kind == VFAT)) {
            let boots = self.boots.is_some_and(|(_, boots)| boots) || is_bootable(node);
            self.boots = Some((number, boots));
        }
        let extent = Extent::open(node, size);
        self.at(partition, size, extent.as_ref(), found);
    }

    /// Partitions of a table that the kernel does not show, because what it looks for in the first
    /// sectors is gone: what stands on them is there all the same.
    fn at_unseen(&mut self, node: &Path, disk: &Disk<'_>) {
        let table =
            || partition_table::find(&mut File::open(node).ok()?, disk.size, disk.sector_size);
        let Some(table) = table().filter(|table| !table.partitions.is_empty()) else { return };
        self.unseen = true;
        self.push(None, disk.size, Finding::only(kind::UNSEEN_TABLE));
        for (number, start, length) in table.partitions {
            let extent = Extent::open(node, disk.size).map(|whole| whole.within(start, length));
            self.at(Some(number), length, extent.as_ref(), Vec::new());
        }
    }

    fn at(
        &mut self,
        partition: Option<u32>,
        size: u64,
        extent: Option<&Extent>,
        mut found: Vec<Finding>,
    ) {
        match extent {
            Some(extent) => {
                self.headers(partition, extent, &mut found);
                found.extend(ends::unknown_to_libblkid(extent, &found));
                if found.is_empty() {
                    found.extend(ends::look(extent, partition.is_none()));
                }
            }
            None if found.is_empty() => found.push(Finding::only(kind::UNREADABLE)),
            None => {}
        }
        found.into_iter().for_each(|finding| self.push(partition, size, finding));
    }

    /// Both copies of a LUKS2 header, whatever libblkid makes of them.
    fn headers(&mut self, partition: Option<u32>, extent: &Extent, found: &mut Vec<Finding>) {
        let copies = luks2::look_at(&|place, length| extent.read(place, length));
        // Behind another file system a second copy is what is left of a volume that was there before.
        let is_left = matches!(copies.primary, Copy::Absent)
            && found.iter().any(|one| one.kind != LUKS && one.kind != kind::UNREADABLE);
        if is_left {
            return;
        }
        let (are_there, damaged) = (copies.are_there(), copies.damaged());
        let header = copies.into_header();
        if are_there && !found.iter().any(|one| one.kind == LUKS) {
            let uuid = header.as_ref().ok().and_then(|it| it.as_ref()).map(|it| it.uuid.clone());
            found.push(Finding { uuid, ..Finding::only(LUKS) });
        }
        found.extend(damaged.map(|which| Finding::only(&kind::broken_copy(which))));
        match header {
            Err(_) if found.iter().all(|one| one.kind != kind::UNREADABLE) => {
                found.push(Finding::only(kind::UNREADABLE));
            }
            Ok(Some(header)) => match token_of(&header) {
                Some(ours) if self.bedplate.is_none() => {
                    (self.bedplate, self.volume) = (Some(ours), partition);
                }
                // Nobody can ever have opened a volume without a keyslot.
                None if header.keyslots == 0 => found.push(Finding::only(kind::TORN_HEADER)),
                _ => {}
            },
            Ok(None) if are_there => found.push(Finding::only(kind::TORN_HEADER)),
            Err(_) | Ok(None) => {}
        }
    }

    fn push(&mut self, partition: Option<u32>, size: u64, finding: Finding) {
        let Finding { kind, label, uuid } = finding;
        self.signatures.push(Signature { partition, kind, label, uuid, size });
    }

    fn told(mut self) -> (Vec<Signature>, Option<TokenFacts>) {
        // Our volume stands behind an EFI system partition, and none can be read there.
        let lost = self.volume.is_some_and(|number| number > 1) && !self.unseen;
        match (&mut self.bedplate, self.boots) {
            (Some(found), Some((_, boots))) => found.boots = Some(boots),
            (Some(found), None) => found.boots = lost.then_some(false),
            (None, Some((number, true))) => {
                self.push(Some(number), 0, Finding::only(kind::BOOT_ENTRY));
            }
            (None, _) => {}
        }
        self.signatures.sort();
        (self.signatures, self.bedplate)
    }
}

/// Each signature once, though GPT, VFAT and LUKS2 stand at several places. A device that cannot
/// be read carries the signature `unreadable`: it is never taken for blank.
fn signatures_of(probe: Probe, node: &Path) -> Vec<Finding> {
    let mut found = probe(node).unwrap_or_else(|_| vec![Finding::only(kind::UNREADABLE)]);
    // A protective MBR is part of GPT.
    if found.iter().any(|finding| finding.kind == "gpt") {
        found.retain(|finding| finding.kind != "PMBR");
    }
    let mut seen = Vec::new();
    found.retain(|finding| {
        let fresh = !seen.contains(finding);
        seen.push(finding.clone());
        fresh
    });
    found
}

/// What our token in a header says.
#[derive(Deserialize)]
struct Token {
    plan: String,
    sealed: bool,
    #[serde(default)]
    sealed_at: Option<u64>,
    #[serde(default)]
    sections: BTreeMap<String, String>,
}

fn token_of(header: &Header) -> Option<TokenFacts> {
    let ours = header.tokens.values().find(|token| token["type"] == TOKEN)?;
    let Token { plan, sealed, sealed_at, sections } = Token::deserialize(ours).ok()?;
    let luks_uuid = header.uuid.clone();
    Some(TokenFacts { plan, luks_uuid, sealed, sealed_at, sections, boots: None })
}
