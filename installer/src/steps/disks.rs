//! Partition tables and the EFI system partition.

use std::fs::File;
use std::path::Path;

use bedplate_disks::Table;
use bedplate_events::{DeviceState, Outcome};
use bedplate_model::plan::{DiskTarget, Partition};
use bedplate_tools::udev;
use uuid::Uuid;

use crate::device::{check, claim, claim_partition, owner_name, wait_for_partition};
use crate::error::{During as _, StepError};

/// Writes the partition table of one disk, unless a run of this plan already did.
pub fn partition(
    target: &DiskTarget,
    guid: Uuid,
    partitions: &[Partition],
) -> Result<Outcome, StepError> {
    let on = |error: StepError| error.on(owner_name(target), DeviceState::Partial);
    let table = Table::new(target, guid, partitions);
    let carried = target.resume && carries(target, &table)?;
    if !may_be_laid_out(target, carried)? {
        return Ok(Outcome::AlreadyDone);
    }
    let written = claim(target)?.write_table(&table);
    let node = written.during("could not write the partition table").map_err(on)?;
    File::open(&node)
        .and_then(|disk| udev::reread_partitions(&disk))
        .during("the kernel did not take the new partition table")
        .map_err(on)?;
    for partition in partitions {
        wait_for_partition(target, partition.number).map_err(on)?;
    }
    Ok(Outcome::Done)
}

/// Whether the disk is to be laid out: not when it `carried` the table already, and never when a
/// volume on it is sealed.
fn may_be_laid_out(target: &DiskTarget, carried: bool) -> Result<bool, StepError> {
    if target.sealed && !carried {
        return Err(StepError::new(
            "its partition table is not as planned, and the volume behind it is sealed",
        )
        .on(owner_name(target), DeviceState::Untouched)
        .next("nothing was written to it; only `wipe = \"any\"` lays the disk out anew"));
    }
    Ok(!carried)
}

/// Whether the disk carries the table already.
fn carries(target: &DiskTarget, table: &Table<'_>) -> Result<bool, StepError> {
    let node = format!("/dev/{}", check(target)?);
    Ok(File::open(&node).is_ok_and(|mut disk| table.is_on(&mut disk)))
}

/// Makes the VFAT file system of the EFI system partition, unless a run of this plan already did.
pub fn format_esp(
    target: &DiskTarget,
    partition: u32,
    label: &str,
    volume_id: u32,
) -> Result<Outcome, StepError> {
    let on = |error: StepError| error.on(owner_name(target), DeviceState::Partial);
    let node = wait_for_partition(target, partition).map_err(on)?;
    if target.resume && volume_id_of(&node) == Some(volume_id) {
        return Ok(Outcome::AlreadyDone);
    }
    let path = node.display().to_string();
    let mut claim = claim_partition(target, partition).map_err(on)?;
    claim
        .make_esp(volume_id, label, target.sector_size)
        .during(format!("could not make the file system on {path}"))
        .map_err(on)?;
    Ok(Outcome::Done)
}

fn volume_id_of(node: &Path) -> Option<u32> {
    let file = File::open(node).ok()?;
    let file_system = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).ok()?;
    Some(file_system.volume_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 << 20;

    #[test]
    fn f1_a_disk_with_a_sealed_volume_is_never_laid_out() {
        let target = |sealed| DiskTarget {
            role: "vm1".parse().unwrap(),
            id: "nvme-VM1".parse().unwrap(),
            serial: None,
            wwn: None,
            size: SIZE,
            sector_size: 512,
            diskseq: None,
            resume: true,
            sealed,
            discard: true,
        };
        assert!(may_be_laid_out(&target(false), false).unwrap());
        assert!(!may_be_laid_out(&target(false), true).unwrap());
        assert!(!may_be_laid_out(&target(true), true).unwrap());
        let error = may_be_laid_out(&target(true), false).unwrap_err();
        assert_eq!(error.state, Some(DeviceState::Untouched));
    }
}
