//! GUID partition tables.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types;
use gpt::{DiskDevice, GptConfig};
use uuid::Uuid;

/// What is cleared at both ends of a disk and at the start of each partition.
const CLEARED: u64 = 1 << 20;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number, from 1.
    pub number: u32,
    /// Name.
    pub name: String,
    /// Whether it is an EFI system partition; LUKS otherwise.
    pub esp: bool,
    /// Unique GUID.
    pub guid: Uuid,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Entry {
    fn partition(&self, sector_size: u32) -> Partition {
        let sector = u64::from(sector_size);
        Partition {
            part_type_guid: if self.esp {
                partition_types::EFI
            } else {
                partition_types::LINUX_LUKS
            },
            part_guid: self.guid,
            first_lba: self.start / sector,
            last_lba: (self.start + self.length) / sector - 1,
            flags: 0,
            name: self.name.clone(),
        }
    }
}

/// Clears what stood there and writes both copies of the table, then the protective MBR, without
/// which nobody sees a table: a power cut leaves a blank disk, or the complete table.
pub fn write(
    file: &mut File,
    size: u64,
    sector_size: u32,
    guid: Uuid,
    entries: &[Entry],
) -> io::Result<()> {
    write_unseen(file, size, sector_size, guid, entries)?;
    file.sync_all()?;
    let last = u32::try_from(size / u64::from(sector_size) - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(last).overwrite_lba0(file).map_err(io::Error::other)?;
    file.sync_all()
}

/// As [`write`], without the last write that makes the table seen.
pub fn write_unseen(
    file: &mut File,
    size: u64,
    sector_size: u32,
    guid: Uuid,
    entries: &[Entry],
) -> io::Result<()> {
    let sector = LogicalBlockSize::try_from(u64::from(sector_size))?;
    // What may be seen goes first, and alone.
    clear(file, 0, u64::from(sector_size).min(size))?;
    file.sync_all()?;
    clear(file, 0, CLEARED.min(size))?;
    clear(file, size.saturating_sub(CLEARED), CLEARED.min(size))?;
    for entry in entries {
        clear(file, entry.start, CLEARED.min(entry.length))?;
    }
    let mut disk = GptConfig::new()
        .writable(true)
        .logical_block_size(sector)
        .create_from_device(&mut *file, Some(guid))
        .map_err(io::Error::other)?;
    let wanted = entries.iter().map(|entry| (entry.number, entry.partition(sector_size)));
    disk.update_partitions(wanted.collect()).map_err(io::Error::other)?;
    disk.write().map_err(io::Error::other).map(drop)
}

fn clear(file: &mut File, start: u64, length: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.write_all(&vec![0; usize::try_from(length).map_err(io::Error::other)?])
}

/// Whether a disk carries exactly this table.
pub fn carries(
    device: &mut (impl DiskDevice + ?Sized),
    sector_size: u32,
    guid: Uuid,
    entries: &[Entry],
) -> bool {
    let Ok(sector) = LogicalBlockSize::try_from(u64::from(sector_size)) else { return false };
    let config = GptConfig::new().logical_block_size(sector).only_valid_headers(true);
    let Ok(disk) = config.open_from_device(device) else { return false };
    let used = disk.partitions().iter().filter(|(_, entry)| entry.is_used());
    let wanted = entries.iter().map(|entry| (entry.number, entry.partition(sector_size)));
    *disk.guid() == guid && used.map(|(number, entry)| (*number, entry.clone())).eq(wanted)
}
