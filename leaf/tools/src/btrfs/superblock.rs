//! The superblock: btrfs documentation, "On-disk Format", section "Superblock".

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::Path;

use crc::{CRC_32_ISCSI, Crc};
use uuid::Uuid;

use crate::direct::Direct;

/// Where its copies stand on a device, in bytes; the first is the one that counts.
pub const COPIES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];

/// Length of one copy, in bytes.
pub const LENGTH: usize = 4096;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CHECKSUM_LENGTH: usize = 32;
const FSID_AT: usize = 0x20;
const MAGIC_AT: usize = 0x40;
const MAGIC: &[u8] = b"_BHRfS_M";
/// Ours, in the place of the magic of a member that is behind: neither the kernel nor udev takes it for
/// a member, and nothing else of it is changed.
const HIDDEN: &[u8] = b"_BHRfS_P";
const GENERATION_AT: usize = 0x48;
const DEVICES_AT: usize = 0x88;
/// Where the number of this device within the file system stands: the first field of its `dev_item`.
const DEVICE_AT: usize = 0xc9;
const INCOMPATIBLE_AT: usize = 0xbc;
const CHECKSUM_KIND_AT: usize = 0xc4;
const LABEL_AT: usize = 0x12b;
const LABEL_LENGTH: usize = 256;
const METADATA_UUID_AT: usize = 0x23b;

/// `BTRFS_FEATURE_INCOMPAT_METADATA_UUID`: the blocks of the file system keep the id they were
/// written with, the superblock names it beside the new one (as `btrfstune -M` does it).
const METADATA_UUID: u64 = 1 << 10;

/// Another id and label for a file system whose blocks stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct Renaming<'a> {
    /// The new file system id.
    pub fsid: Uuid,
    /// The new label, shorter than 256 bytes.
    pub label: &'a str,
}

impl Renaming<'_> {
    /// Changes one copy. Says whether it could: not when this is no superblock with a CRC-32C, it
    /// was renamed before, or the label is too long.
    #[must_use]
    pub fn apply(&self, block: &mut [u8; LENGTH]) -> bool {
        self.renamed(block).is_some()
    }

    fn renamed(&self, block: &mut [u8; LENGTH]) -> Option<()> {
        let number = |at: usize| Some(u64::from_le_bytes(*block.get(at..)?.first_chunk()?));
        let features = number(INCOMPATIBLE_AT)?;
        let is_crc = block.get(CHECKSUM_KIND_AT..CHECKSUM_KIND_AT + 2)? == [0, 0];
        let is_ours = block.get(MAGIC_AT..)?.starts_with(MAGIC) && is_crc;
        if !is_ours || features & METADATA_UUID != 0 || self.label.len() >= LABEL_LENGTH {
            return None;
        }
        let made_with: [u8; 16] = *block.get(FSID_AT..)?.first_chunk()?;
        let mut put = |at: usize, bytes: &[u8]| {
            block.get_mut(at..at + bytes.len()).map(|place| place.copy_from_slice(bytes))
        };
        put(METADATA_UUID_AT, &made_with)?;
        put(FSID_AT, self.fsid.as_bytes())?;
        put(INCOMPATIBLE_AT, &(features | METADATA_UUID).to_le_bytes())?;
        put(LABEL_AT, &[0; LABEL_LENGTH])?;
        put(LABEL_AT, self.label.as_bytes())?;
        let checksum = CHECKSUM.checksum(block.get(CHECKSUM_LENGTH..)?);
        block.get_mut(..4)?.copy_from_slice(&checksum.to_le_bytes());
        Some(())
    }
}

/// What a member's superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// File system id.
    pub fsid: Uuid,
    /// Raised with every commit: a member that was away has an older one.
    pub generation: u64,
    /// How many devices the file system has.
    pub devices: u64,
    /// The number of this device; 0 while it is being written in the place of another
    /// (`BTRFS_DEV_REPLACE_DEVID`).
    pub device: u64,
    /// Whether it was put out of the kernel's sight.
    pub hidden: bool,
    /// Whether its checksum is wrong: a power cut can tear it, and the kernel mounts nothing by it. Other
    /// checksums than CRC-32C are taken for right.
    pub torn: bool,
}

impl Superblock {
    /// Reads the superblock of a device; `None` when it has none that the kernel would take.
    pub fn read(device: &Path) -> io::Result<Option<Self>> {
        Ok(Self::read_hidden(device)?.filter(|found| !found.hidden))
    }

    /// As [`Superblock::read`], also of a device that was put out of the kernel's sight.
    pub fn read_hidden(device: &Path) -> io::Result<Option<Self>> {
        Self::first_copy(File::open(device)?)
    }

    /// As [`Superblock::read_hidden`], past what the kernel remembers. A disk that is gone, or answers nothing
    /// any more, seems to give its superblock for as long as something holds its mapping open, and that of a
    /// transaction that never reached it.
    pub fn read_on_disk(device: &Path) -> io::Result<Option<Self>> {
        Self::first_copy(Direct::open(device)?)
    }

    fn first_copy(mut device: impl Read + Seek) -> io::Result<Option<Self>> {
        device.seek(SeekFrom::Start(COPIES[0]))?;
        let mut bytes = Vec::new();
        device.take(LENGTH as u64).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    fn is_wrong(mut block: [u8; LENGTH]) -> Option<bool> {
        let magic = block.get_mut(MAGIC_AT..MAGIC_AT + MAGIC.len())?;
        if magic == HIDDEN {
            magic.copy_from_slice(MAGIC);
        }
        let is_known = magic == MAGIC;
        let is_crc = block.get(CHECKSUM_KIND_AT..CHECKSUM_KIND_AT + 2)? == [0, 0];
        let written = u32::from_le_bytes(*block.first_chunk()?);
        let sum = CHECKSUM.checksum(block.get(CHECKSUM_LENGTH..)?);
        Some(is_known && is_crc && written != sum)
    }

    /// The superblock in the bytes of its first copy; `None` when they are none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            bytes.get(at..at + 8)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
        };
        let magic = bytes.get(MAGIC_AT..MAGIC_AT + 8)?;
        if magic != MAGIC && magic != HIDDEN {
            return None;
        }
        Some(Self {
            fsid: Uuid::from_bytes(*bytes.get(FSID_AT..)?.first_chunk()?),
            generation: number(GENERATION_AT)?,
            devices: number(DEVICES_AT)?,
            device: number(DEVICE_AT)?,
            hidden: magic == HIDDEN,
            torn: bytes.first_chunk().and_then(|block| Self::is_wrong(*block)).unwrap_or(false),
        })
    }
}

/// Puts a device out of the kernel's sight, durably: no scan makes it a member of what is mounted.
/// [`show`] undoes it, to the byte.
pub fn hide(device: &Path) -> io::Result<()> {
    exchange(device, MAGIC, HIDDEN)
}

/// Undoes [`hide`].
pub fn show(device: &Path) -> io::Result<()> {
    exchange(device, HIDDEN, MAGIC)
}

fn exchange(device: &Path, from: &[u8], to: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(device)?;
    let size = file.seek(SeekFrom::End(0))?;
    // The first copy counts: it comes last when it is to be seen, and first when it is not.
    let mut copies = COPIES;
    if to == MAGIC {
        copies.reverse();
    }
    for copy in copies.into_iter().filter(|copy| copy + LENGTH as u64 <= size) {
        let at = copy + MAGIC_AT as u64;
        let mut found = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut found)?;
        if found == from {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(to)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_is_found_where_the_format_has_it() {
        let mut bytes = vec![0; 0xd1];
        assert_eq!(Superblock::parse(&bytes), None);
        bytes[0x20..0x30].copy_from_slice(&[
            0x0f, 0x2a, 0x7c, 0x54, 0x9f, 0x0c, 0x5a, 0x5b, 0x8a, 0x6e, 0x3f, 0x7d, 0x1c, 0x2b,
            0x4a, 0x59,
        ]);
        bytes[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        bytes[0x48] = 7;
        bytes[0x88] = 3;
        bytes[0xc9] = 2;
        let fsid = Uuid::from_u128(0x0f2a7c549f0c5a5b8a6e3f7d1c2b4a59);
        let (hidden, torn) = (false, false);
        let found = Superblock { fsid, generation: 7, devices: 3, device: 2, hidden, torn };
        assert_eq!(Superblock::parse(&bytes), Some(found));
        assert_eq!(Superblock::parse(&bytes[..0x88]), None);
    }

    #[test]
    fn t44_a_device_is_put_out_of_sight_and_back_to_the_byte() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len((64 << 20) + 8192).unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        for copy in [64 << 10, 64 << 20] {
            bytes[copy + MAGIC_AT..copy + MAGIC_AT + 8].copy_from_slice(MAGIC);
        }
        std::fs::write(file.path(), &bytes).unwrap();
        hide(file.path()).unwrap();
        hide(file.path()).unwrap();
        assert_eq!(Superblock::read(file.path()).unwrap(), None);
        assert!(Superblock::read_hidden(file.path()).unwrap().unwrap().hidden);
        let hidden = std::fs::read(file.path()).unwrap();
        assert!(!hidden.windows(8).any(|window| window == MAGIC), "a copy can still be seen");
        show(file.path()).unwrap();
        assert!(std::fs::read(file.path()).unwrap() == bytes);
    }

    /// What `mkfs.btrfs` writes where renaming looks.
    fn made() -> [u8; LENGTH] {
        let mut block = [0; LENGTH];
        block[FSID_AT..FSID_AT + 16].copy_from_slice(&[7; 16]);
        block[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(MAGIC);
        block[INCOMPATIBLE_AT..INCOMPATIBLE_AT + 2].copy_from_slice(&[0x71, 0x03]);
        block[LABEL_AT..LABEL_AT + 7].copy_from_slice(b"earlier");
        block
    }

    #[test]
    fn t44_a_superblock_that_a_power_cut_tore_is_known() {
        let mut block = made();
        assert!(Renaming { fsid: Uuid::nil(), label: "os" }.apply(&mut block));
        assert_eq!(Superblock::is_wrong(block), Some(false));
        assert!(!Superblock::parse(&block).unwrap().torn);
        let mut hidden = block;
        hidden[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(HIDDEN);
        assert_eq!(Superblock::is_wrong(hidden), Some(false));
        // Its second sector is of before.
        let mut torn = block;
        torn[600] ^= 1;
        assert_eq!(Superblock::is_wrong(torn), Some(true));
        assert!(Superblock::parse(&torn).unwrap().torn);
        // Another kind of checksum, and no superblock at all.
        torn[CHECKSUM_KIND_AT] = 1;
        assert_eq!(Superblock::is_wrong(torn), Some(false));
        assert_eq!(Superblock::is_wrong([0; LENGTH]), Some(false));
    }

    #[test]
    fn renaming_keeps_the_id_of_the_blocks_beside_the_new_one() {
        let mut block = made();
        let fsid = Uuid::from_bytes([9; 16]);
        assert!(Renaming { fsid, label: "os" }.apply(&mut block));
        assert_eq!(Superblock::parse(&block).unwrap().fsid, fsid);
        assert_eq!(block[METADATA_UUID_AT..METADATA_UUID_AT + 16], [7; 16]);
        assert_eq!(block[INCOMPATIBLE_AT..INCOMPATIBLE_AT + 2], [0x71, 0x07]);
        assert_eq!(block[LABEL_AT..LABEL_AT + 8], *b"os\0\0\0\0\0\0");
        assert_eq!(block[..4], CHECKSUM.checksum(&block[32..]).to_le_bytes());
    }

    #[test]
    fn what_cannot_be_renamed_stays_as_it_is() {
        let long = "x".repeat(LABEL_LENGTH);
        let refused = |label: &str, spoil: &dyn Fn(&mut [u8; LENGTH])| {
            let mut block = made();
            spoil(&mut block);
            let before = block;
            let applied = Renaming { fsid: Uuid::nil(), label }.apply(&mut block);
            assert_eq!(block, before);
            !applied
        };
        assert!(refused("os", &|block| block[MAGIC_AT] = 0));
        assert!(refused("os", &|block| block[CHECKSUM_KIND_AT] = 1));
        assert!(refused("os", &|block| block[INCOMPATIBLE_AT + 1] |= 4));
        assert!(refused(&long, &|_| ()));
    }
}
