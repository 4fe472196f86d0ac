//! What a disk that is claimed is filled with: a partition table, or a VFAT file system. Both destroy what stood
//! there, and are to be had by a [`Claim`] alone.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_keystick::{self as keystick, StickError, Volume};
use bedplate_model::identity::shown_volume_id;
use bedplate_model::plan::{DiskTarget, Partition, PartitionKind};
use bedplate_tools::partition_table::{self, Entry};
use bedplate_tools::secret::Secret;
use uuid::Uuid;

use crate::claim::Claim;

/// A partition table.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    size: u64,
    sector_size: u32,
    guid: Uuid,
    partitions: &'a [Partition],
}

impl<'a> Table<'a> {
    /// The one that a plan has for a disk.
    pub fn new(target: &DiskTarget, guid: Uuid, partitions: &'a [Partition]) -> Self {
        let DiskTarget { size, sector_size, .. } = *target;
        Self { size, sector_size, guid, partitions }
    }

    /// Whether the disk that is open carries exactly this table, and the kernel sees it. Closing a device that
    /// was open for writing makes udev take its partitions away and bring them back: what is only looked at
    /// is opened for reading.
    pub fn is_on(&self, disk: &mut File) -> bool {
        partition_table::carries(disk, self.sector_size, self.guid, &self.entries())
    }

    fn write(&self, disk: &mut File) -> io::Result<()> {
        partition_table::write(disk, self.size, self.sector_size, self.guid, &self.entries())
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |wanted: &Partition| Entry {
            number: wanted.number,
            name: wanted.name.clone(),
            esp: wanted.kind == PartitionKind::Esp,
            guid: wanted.guid,
            start: wanted.start,
            length: wanted.length,
        };
        self.partitions.iter().map(entry).collect()
    }
}

impl Claim {
    /// Clears what stood there and writes both copies of the table, then the protective MBR, without
    /// which nobody sees a table: a power cut leaves a blank disk, or the complete table. The disk is let go
    /// of; its node is for who has the kernel read the table.
    pub fn write_table(mut self, table: &Table<'_>) -> io::Result<PathBuf> {
        table.write(self.file())?;
        Ok(Path::new("/dev").join(self.disk_name().replace('!', "/")))
    }

    /// Makes a VFAT file system with these files over all of it, and reads it back; a power cut leaves none, or
    /// all of it.
    pub fn make_vfat(
        &mut self,
        volume: &Volume<'_>,
        files: &[(String, Secret)],
    ) -> Result<(), StickError> {
        keystick::make(self.file(), volume, files)
    }

    /// The same for an EFI system partition or its copy, which are filled by who mounts them.
    pub fn make_esp(
        &mut self,
        volume_id: u32,
        label: &str,
        sector_size: u32,
    ) -> Result<(), StickError> {
        let id = shown_volume_id(volume_id);
        self.make_vfat(&Volume { id: &id, label, sector_size }, &[])
    }
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

    fn table(sector_size: u32, guid: u128, partitions: &[Partition]) -> Table<'_> {
        Table { size: SIZE, sector_size, guid: Uuid::from_u128(guid), partitions }
    }

    #[test]
    fn t08_tables_for_both_sector_sizes_are_read_back_as_written() {
        for sector_size in [512, 4096] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(SIZE).unwrap();
            let all = partitions();
            let wanted = table(sector_size, 7, &all);
            assert!(!wanted.is_on(&mut file));
            wanted.write(&mut file).unwrap();
            assert!(wanted.is_on(&mut file));
            assert!(!table(sector_size, 8, &all).is_on(&mut file));
            assert!(!table(sector_size, 7, &all[..1]).is_on(&mut file));
        }
    }

    #[test]
    fn a_table_has_the_partitions_of_the_plan() {
        let all = partitions();
        let entries = table(512, 7, &all).entries();
        let kinds: Vec<_> = entries.iter().map(|one| (one.number, one.esp, one.guid)).collect();
        let guid = Uuid::from_u128;
        assert_eq!(kinds, [(1, true, guid(0xe5b0)), (2, false, guid(0x1045))]);
    }

    #[test]
    fn f1_a_table_is_not_seen_before_its_last_write() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let (all, mut file) = (partitions(), image.reopen().unwrap());
        table(512, 8, &all).write(&mut file).unwrap();
        let wanted = table(512, 7, &all);
        let entries = wanted.entries();
        partition_table::write_unseen(&mut file, SIZE, 512, wanted.guid, &entries).unwrap();
        assert_eq!(bedplate_blkid::probe(image.path()).unwrap(), []);
        wanted.write(&mut file).unwrap();
        assert!(wanted.is_on(&mut file));
    }

    #[test]
    fn libblkid_reads_our_table_and_our_file_system() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let (guid, all) = (0x1234_5678_9abc_4def_8123_4567_89ab_cdef, partitions());
        table(512, guid, &all).write(&mut image.reopen().unwrap()).unwrap();
        let found = bedplate_blkid::probe(image.path()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        let guid = Uuid::from_u128(guid).to_string();
        assert_eq!((found[0].kind.as_str(), found[0].uuid.clone()), ("gpt", Some(guid)));

        let stick = tempfile::NamedTempFile::new().unwrap();
        stick.as_file().set_len(SIZE).unwrap();
        assert_eq!(bedplate_blkid::probe(stick.path()).unwrap(), []);
        let id = shown_volume_id(0x1A2B_3C4D);
        let volume = Volume { id: &id, label: "BEDPLATEKEY", sector_size: 512 };
        keystick::make(&mut stick.reopen().unwrap(), &volume, &[]).unwrap();
        let found = bedplate_blkid::probe(stick.path()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, "vfat");
        assert_eq!(found[0].uuid.as_deref(), Some("1A2B-3C4D"));
        assert_eq!(found[0].label.as_deref(), Some("BEDPLATEKEY"));
    }
}
