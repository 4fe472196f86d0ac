//! Partition tables and the EFI system partition.

use std::fs::File;
use std::io;
use std::path::Path;

use bedplate_events::{DeviceState, Outcome};
use bedplate_keystick::{StickError, Volume};
use bedplate_model::identity::shown_volume_id;
use bedplate_model::plan::{DiskTarget, Partition, PartitionKind};
use bedplate_tools::partition_table::{self, Entry};
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
    let carried = target.resume && carries(target, guid, partitions)?;
    if !may_be_laid_out(target, carried)? {
        return Ok(Outcome::AlreadyDone);
    }
    let mut claim = claim(target)?;
    let node = format!("/dev/{}", claim.disk_name());
    write_table(claim.file(), target.size, target.sector_size, guid, partitions)
        .during("could not write the partition table")
        .map_err(on)?;
    drop(claim);
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

/// Clears what stood there and writes both copies of the table, then the protective MBR, without
/// which nobody sees a table: a power cut leaves a blank disk, or the complete table.
pub fn write_table(
    file: &mut File,
    size: u64,
    sector_size: u32,
    guid: Uuid,
    partitions: &[Partition],
) -> io::Result<()> {
    partition_table::write(file, size, sector_size, guid, &entries(partitions))
}

/// Whether the disk carries the table already. Closing a device that was open for writing makes udev
/// take its partitions away and bring them back: what is only looked at is opened for reading.
fn carries(target: &DiskTarget, guid: Uuid, partitions: &[Partition]) -> Result<bool, StepError> {
    let node = format!("/dev/{}", check(target)?);
    let wanted = &entries(partitions);
    Ok(File::open(&node).is_ok_and(|mut file| {
        partition_table::carries(&mut file, target.sector_size, guid, wanted)
    }))
}

fn entries(partitions: &[Partition]) -> Vec<Entry> {
    let entry = |wanted: &Partition| Entry {
        number: wanted.number,
        name: wanted.name.clone(),
        esp: wanted.kind == PartitionKind::Esp,
        guid: wanted.guid,
        start: wanted.start,
        length: wanted.length,
    };
    partitions.iter().map(entry).collect()
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
    format_vfat(claim.file(), label, volume_id, target.sector_size)
        .during(format!("could not make the file system on {path}"))
        .map_err(on)?;
    Ok(Outcome::Done)
}

fn volume_id_of(node: &Path) -> Option<u32> {
    let file = File::open(node).ok()?;
    let file_system = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).ok()?;
    Some(file_system.volume_id())
}

/// Makes a VFAT file system over a whole device or image; a power cut leaves none, or all of it.
fn format_vfat(
    file: &mut File,
    label: &str,
    volume_id: u32,
    sector_size: u32,
) -> Result<(), StickError> {
    let id = shown_volume_id(volume_id);
    bedplate_keystick::make(file, &Volume { id: &id, label, sector_size }, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 << 20;

    fn partitions() -> Vec<Partition> {
        let guid = Uuid::from_u128;
        vec![
            Partition {
                number: 1,
                name: "bedplate-esp".into(),
                kind: PartitionKind::Esp,
                guid: guid(0xe5b0),
                start: 1 << 20,
                length: 16 << 20,
            },
            Partition {
                number: 2,
                name: "bedplate-os".into(),
                kind: PartitionKind::Luks,
                guid: guid(0x1045),
                start: 17 << 20,
                length: 46 << 20,
            },
        ]
    }

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

    #[test]
    fn t08_tables_for_both_sector_sizes_are_read_back_as_written() {
        for sector_size in [512, 4096] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(SIZE).unwrap();
            let guid = Uuid::from_u128(7);
            write_table(&mut file, SIZE, sector_size, guid, &partitions()).unwrap();
            let mut carries = |guid, wanted: &[Partition]| {
                partition_table::carries(&mut file, sector_size, guid, &entries(wanted))
            };
            assert!(carries(guid, &partitions()));
            assert!(!carries(Uuid::from_u128(8), &partitions()));
            assert!(!carries(guid, &partitions()[..1]));
        }
    }

    #[test]
    fn f1_a_table_is_not_seen_before_its_last_write() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let (guid, mut file) = (Uuid::from_u128(7), image.reopen().unwrap());
        write_table(&mut file, SIZE, 512, Uuid::from_u128(8), &partitions()).unwrap();
        let entries = entries(&partitions());
        partition_table::write_unseen(&mut file, SIZE, 512, guid, &entries).unwrap();
        assert_eq!(bedplate_blkid::probe(image.path()).unwrap(), []);
        write_table(&mut file, SIZE, 512, guid, &partitions()).unwrap();
        assert!(partition_table::carries(&mut file, 512, guid, &entries));
    }

    #[test]
    fn libblkid_reads_our_table_and_our_file_system() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let guid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        write_table(&mut image.reopen().unwrap(), SIZE, 512, guid, &partitions()).unwrap();
        let found = bedplate_blkid::probe(image.path()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].kind.as_str(), found[0].uuid.clone()),
            ("gpt", Some(guid.to_string()))
        );

        let stick = tempfile::NamedTempFile::new().unwrap();
        stick.as_file().set_len(SIZE).unwrap();
        assert_eq!(bedplate_blkid::probe(stick.path()).unwrap(), []);
        format_vfat(&mut stick.reopen().unwrap(), "BEDPLATEKEY", 0x1A2B_3C4D, 512).unwrap();
        let found = bedplate_blkid::probe(stick.path()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, "vfat");
        assert_eq!(found[0].uuid.as_deref(), Some("1A2B-3C4D"));
        assert_eq!(found[0].label.as_deref(), Some("BEDPLATEKEY"));
    }
}
