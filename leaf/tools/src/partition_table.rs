//! GUID partition tables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};

use gpt::disk::LogicalBlockSize;
use gpt::header::{self, Header};
use gpt::mbr::ProtectiveMBR;
use gpt::partition::{self, Partition};
use gpt::partition_types;
use gpt::{DiskDevice, GptConfig};
use uuid::Uuid;

use crate::{luks2, unfinished};

/// What is cleared at both ends of a disk and of each partition: superblocks of RAID and ZFS stand at
/// the end of what they are on, and a new partition may end where an old one did. md's version 0.90
/// and 1.0 keep to the last 128 KiB (md(4)), ZFS to the last 512 KiB (two labels of 256 KiB).
const CLEARED: u64 = 1 << 20;
/// What is cleared at the end of a disk: what firmware keeps of its RAID stands up to 3,087 sectors
/// before it (Promise; `libblkid/src/superblocks/promise_raid.c`).
const CLEARED_BEHIND: u64 = 2 << 20;
/// Bytes of an entry. UEFI 2.10, 5.3.2 allows 256 and more, which neither the kernel nor the crate
/// reads: the crate panics.
const ENTRY: u32 = 128;
/// The most entries of a table that is read: the kernel reads no table past 4 MiB
/// (`block/partitions/efi.c`, `KMALLOC_MAX_SIZE`).
const MOST_ENTRIES: u32 = (4 << 20) / ENTRY;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number, from 1.
    pub number: u32,
    /// Name in the table, not the label of what is in the partition.
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
/// which the kernel sees no table: a power cut leaves a disk that is marked as [`unfinished`] under
/// the disk's GUID, or the complete table.
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
    let mut first = unfinished::mark(&guid.to_string());
    first.resize(usize::try_from(CLEARED.min(size)).map_err(io::Error::other)?, 0);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(first.get(..sector_size as usize).unwrap_or(&first))?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&first)?;
    clear_end(file, 0, size, CLEARED_BEHIND)?;
    for entry in entries {
        clear(file, entry.start, CLEARED.min(entry.length))?;
        clear_second_headers(file, entry)?;
        clear_end(file, entry.start, entry.length, CLEARED)?;
    }
    // Nothing of what was there before stands in a partition that can be seen.
    file.sync_all()?;
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

/// Clears what stands further in where the second header of an old volume can begin: it would be taken
/// for the one copy that is left of a volume which keys open.
fn clear_second_headers(file: &mut File, entry: &Entry) -> io::Result<()> {
    let length = luks2::BINARY as u64;
    let is_in = |place: &u64| *place >= CLEARED && place.saturating_add(length) <= entry.length;
    luks2::SIZES
        .into_iter()
        .filter(is_in)
        .try_for_each(|place| clear(file, entry.start.saturating_add(place), length))
}

/// Clears the end of a disk or partition.
fn clear_end(file: &mut File, start: u64, length: u64, cleared: u64) -> io::Result<()> {
    let cleared = cleared.min(length);
    clear(file, start.saturating_add(length - cleared), cleared)
}

/// A table as it stands on a disk, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOnDisk {
    /// GUID of the disk.
    pub guid: Uuid,
    /// Number, first byte and length of each partition that lies on the disk, by number.
    pub partitions: Vec<(u32, u64, u64)>,
}

/// The table of a disk by either of its copies, whether the kernel shows it or not.
pub fn find(file: &mut File, size: u64, sector_size: u32) -> Option<TableOnDisk> {
    let sector = LogicalBlockSize::try_from(u64::from(sector_size)).ok()?;
    let [first, second] = headers(file, sector);
    let mut table = |header: Option<Header>| {
        let header = header?;
        Some((header.disk_guid, entries_of(file, &header, sector)?))
    };
    let (guid, entries) = table(first).or_else(|| table(second))?;
    let sector = u64::from(sector_size);
    let place = |(number, entry): (&u32, &Partition)| {
        let start = entry.first_lba.checked_mul(sector)?;
        let end = entry.last_lba.checked_add(1)?.checked_mul(sector)?;
        (entry.is_used() && start < end && end <= size).then(|| (*number, start, end - start))
    };
    Some(TableOnDisk { guid, partitions: entries.iter().filter_map(place).collect() })
}

/// Whether a disk carries exactly this table, and the kernel sees it: what comes last when it is
/// written is there, too.
pub fn carries(
    device: &mut (impl DiskDevice + ?Sized),
    sector_size: u32,
    guid: Uuid,
    entries: &[Entry],
) -> bool {
    let Ok(sector) = LogicalBlockSize::try_from(u64::from(sector_size)) else { return false };
    if !is_protected(device).unwrap_or(false) {
        return false;
    }
    let [Some(first), Some(_)] = headers(device, sector) else { return false };
    let Some(there) = entries_of(device, &first, sector) else { return false };
    let used = there.iter().filter(|(_, entry)| entry.is_used());
    let wanted = entries.iter().map(|entry| (entry.number, entry.partition(sector_size)));
    first.disk_guid == guid && used.map(|(number, entry)| (*number, entry.clone())).eq(wanted)
}

/// The headers of both copies, each if its checksum is right.
fn headers(
    device: &mut (impl Read + Seek + ?Sized),
    sector: LogicalBlockSize,
) -> [Option<Header>; 2] {
    let first = header::read_header_from_arbitrary_device(&mut Behind { device, by: 0 }, sector);
    let end = device.seek(SeekFrom::End(0)).unwrap_or(0);
    let last = (end / sector.as_u64()).checked_sub(2).filter(|last| *last > 0);
    let second = last.and_then(|last| {
        // The crate reads one sector from the beginning.
        let by = last * sector.as_u64();
        header::read_header_from_arbitrary_device(&mut Behind { device, by }, sector).ok()
    });
    [first.ok(), second]
}

/// The entries that a header names, if they are of the size and number that can be read, and their
/// checksum is right.
fn entries_of(
    device: &mut (impl Read + Seek + ?Sized),
    header: &Header,
    sector: LogicalBlockSize,
) -> Option<BTreeMap<u32, Partition>> {
    if header.part_size != ENTRY || header.num_parts > MOST_ENTRIES {
        return None;
    }
    partition::file_read_partitions(&mut Behind { device, by: 0 }, header, sector).ok()
}

/// A device as it is read from a place on.
struct Behind<'a, D: ?Sized> {
    device: &'a mut D,
    by: u64,
}

impl<D: Read + ?Sized> Read for Behind<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.read(buffer)
    }
}

impl<D: Seek + ?Sized> Seek for Behind<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(place) => {
                SeekFrom::Start(place.checked_add(self.by).ok_or(io::ErrorKind::InvalidInput)?)
            }
            relative => relative,
        };
        Ok(self.device.seek(to)?.saturating_sub(self.by))
    }
}

/// Whether the first sector is an MBR that protects a table (UEFI 2.10, 5.2.3): its only kind of
/// partition is 0xEE.
fn is_protected(device: &mut (impl DiskDevice + ?Sized)) -> io::Result<bool> {
    let mut mbr = [0; 512];
    device.seek(SeekFrom::Start(0))?;
    device.read_exact(&mut mbr)?;
    Ok(mbr.ends_with(&[0x55, 0xaa]) && mbr.get(446 + 4) == Some(&0xee))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    fn entry() -> Entry {
        let (start, length) = (1 << 20, 10 << 20);
        let name = "bedplate-vm1".into();
        Entry { number: 1, name, esp: false, guid: Uuid::from_u128(5), start, length }
    }

    fn read(file: &File, place: u64, length: usize) -> Vec<u8> {
        crate::luks2::read_at(file, place, length).unwrap()
    }

    #[test]
    fn t57_what_stood_at_the_end_of_an_old_partition_is_not_in_the_new_one() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0xa5; SIZE as usize]).unwrap();
        write(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
        // md 1.0 lies 8 KiB before the end, 0.90 in the last 64 KiB, ZFS in the last 512 KiB.
        let end = entry().start + entry().length;
        for before in [8 << 10, 64 << 10, 128 << 10, 512 << 10, 1 << 20] {
            assert_eq!(read(&file, end - before, 4096), vec![0; 4096], "{before} before the end");
        }
        assert_eq!(read(&file, end - (2 << 20), 512), vec![0xa5; 512], "data is not gone through");
    }

    #[test]
    fn t07_the_second_header_of_an_old_volume_is_not_in_the_new_partition() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0xa5; SIZE as usize]).unwrap();
        write(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
        for place in luks2::SIZES {
            let found = read(&file, entry().start + place, 512);
            assert_eq!(found, vec![0; 512], "{place} bytes in");
        }
        let place = entry().start + luks2::SIZES[8] + (1 << 20);
        assert_eq!(read(&file, place, 512), vec![0xa5; 512], "data is not gone through");
    }

    #[test]
    fn f1_a_table_that_is_not_finished_is_known_by_its_guid() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        write_unseen(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
        let marked = unfinished::name(&read(&file, 0, 512));
        assert_eq!(marked, Some(Uuid::from_u128(7).to_string()));
        // The kernel would show no partition of it.
        assert!(!carries(&mut file, 512, Uuid::from_u128(7), &[entry()]));
        write(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
        assert_eq!(unfinished::name(&read(&file, 0, 512)), None);
        assert!(carries(&mut file, 512, Uuid::from_u128(7), &[entry()]));
    }

    #[test]
    fn t06_a_table_is_found_by_its_second_copy_alone() {
        for sector_size in [512, 4096] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(SIZE).unwrap();
            assert_eq!(find(&mut file, SIZE, sector_size), None);
            write(&mut file, SIZE, sector_size, Uuid::from_u128(7), &[entry()]).unwrap();
            let partitions = vec![(1, entry().start, entry().length)];
            let wanted = Some(TableOnDisk { guid: Uuid::from_u128(7), partitions });
            assert_eq!(find(&mut file, SIZE, sector_size), wanted);
            for cleared in [512, 1 << 20] {
                clear(&mut file, 0, cleared).unwrap();
                assert_eq!(find(&mut file, SIZE, sector_size), wanted, "{cleared} bytes are gone");
            }
        }
    }

    /// Writes over a field of a header and makes its checksum right again (UEFI 2.10, 5.3.2).
    fn set(file: &mut File, header: u64, field: usize, value: u32) {
        let mut bytes = read(file, header, 92);
        bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
        bytes[16..20].fill(0);
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        file.seek(SeekFrom::Start(header)).unwrap();
        file.write_all(&bytes).unwrap();
    }

    #[test]
    fn t06_a_table_of_a_size_that_cannot_be_read_is_no_reason_to_stop() {
        const NUMBER: usize = 80;
        const SIZE_OF_ENTRY: usize = 84;
        for (field, value) in [(SIZE_OF_ENTRY, 256), (SIZE_OF_ENTRY, 0), (NUMBER, u32::MAX)] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(SIZE).unwrap();
            write(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
            set(&mut file, 512, field, value);
            let found = find(&mut file, SIZE, 512).expect("the second copy is whole");
            assert_eq!(found.partitions, vec![(1, entry().start, entry().length)]);
            assert!(!carries(&mut file, 512, Uuid::from_u128(7), &[entry()]));
            set(&mut file, SIZE - 512, field, value);
            assert_eq!(find(&mut file, SIZE, 512), None);
        }
    }

    #[test]
    fn t06_a_table_is_found_when_only_the_entries_of_one_copy_are_damaged() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        write(&mut file, SIZE, 512, Uuid::from_u128(7), &[entry()]).unwrap();
        clear(&mut file, 1024, 512).unwrap();
        let found = find(&mut file, SIZE, 512).expect("the second copy is whole");
        assert_eq!(found.partitions, vec![(1, entry().start, entry().length)]);
    }
}
