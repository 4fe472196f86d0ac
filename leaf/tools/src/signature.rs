//! What a block device says about itself in its first 36 KiB.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::luks2;

/// How much of a device [`Signature::parse`] needs.
const START: usize = 36 << 10;

/// Offset of the ISO 9660 primary volume descriptor.
const ISO_DESCRIPTOR: usize = 16 * 2048;

/// What was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// ISO 9660.
    Iso9660 {
        /// Volume identifier without the padding.
        volume_id: String,
    },
    /// FAT12, FAT16 or FAT32.
    Fat {
        /// Volume id as `1A2B-3C4D`.
        volume_id: String,
    },
    /// LUKS version 2.
    Luks2 {
        /// The UUID as written in the header.
        uuid: String,
    },
}

impl Signature {
    /// Reads the start of a device or file; `None` when it is none of the three. A LUKS volume whose
    /// first header is broken or cannot be read is known by its second one.
    pub fn read(device: &Path) -> io::Result<Option<Self>> {
        let file = File::open(device)?;
        let read = |place, length| luks2::read_at(&file, place, length);
        let start = read(0, START);
        if let Some(found) = start.as_ref().ok().and_then(|start| Self::parse(start)) {
            return Ok(Some(found));
        }
        match luks2::look_at(&read).into_header() {
            Ok(Some(header)) if is_damaged(start.as_deref(), &header.uuid) => {
                Ok(Some(Self::Luks2 { uuid: header.uuid }))
            }
            _ => start.map(|_| None),
        }
    }

    /// Recognises the first bytes of a device.
    ///
    /// ISO 9660 goes first: a hybrid image also starts with something that may look like FAT.
    pub fn parse(start: &[u8]) -> Option<Self> {
        iso9660(start).or_else(|| luks2(start)).or_else(|| fat(start))
    }
}

/// Whether a first header has stood here and was damaged. What was made over a volume later, such as
/// a file system, can leave its second header behind.
fn is_damaged(start: Result<&[u8], &io::Error>, uuid: &str) -> bool {
    let Ok(start) = start else { return true };
    let is_zero = start.iter().take(luks2::BINARY).all(|byte| *byte == 0);
    is_zero || start.get(168..).is_some_and(|rest| rest.starts_with(uuid.as_bytes()))
}

fn iso9660(start: &[u8]) -> Option<Signature> {
    let descriptor = start.get(ISO_DESCRIPTOR..ISO_DESCRIPTOR + 72)?;
    if descriptor.get(..6)? != b"\x01CD001" {
        return None;
    }
    let label = String::from_utf8_lossy(descriptor.get(40..72)?);
    Some(Signature::Iso9660 { volume_id: label.trim_end_matches([' ', '\0']).to_owned() })
}

fn luks2(start: &[u8]) -> Option<Signature> {
    if start.get(..8)? != b"LUKS\xba\xbe\0\x02" {
        return None;
    }
    let uuid = start.get(168..208)?;
    let text = uuid.split(|byte| *byte == 0).next()?;
    Some(Signature::Luks2 { uuid: std::str::from_utf8(text).ok()?.to_owned() })
}

fn fat(start: &[u8]) -> Option<Signature> {
    if start.get(510..512)? != b"\x55\xaa" {
        return None;
    }
    // FAT32 keeps its extended boot record elsewhere than FAT12 and FAT16.
    [(0x42, 0x52), (0x26, 0x36)].into_iter().find_map(|(marker, kind)| {
        let known = start.get(kind..kind + 3)? == b"FAT";
        if !known || !matches!(start.get(marker)?, 0x28 | 0x29) {
            return None;
        }
        let serial = start.get(marker + 1..marker + 5)?.first_chunk::<4>()?;
        let serial = u32::from_le_bytes(*serial);
        let volume_id = format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff);
        Some(Signature::Fat { volume_id })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fat_boot_sector(marker: usize, kind: &[u8]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        sector[510..].copy_from_slice(b"\x55\xaa");
        sector[marker] = 0x29;
        sector[marker + 1..marker + 5].copy_from_slice(&0x1A2B_3C4D_u32.to_le_bytes());
        sector[marker + 16..marker + 24].copy_from_slice(kind);
        sector
    }

    #[test]
    fn fat16_and_fat32_keep_their_volume_id_in_different_places() {
        let expected = Some(Signature::Fat { volume_id: "1A2B-3C4D".to_owned() });
        assert_eq!(Signature::parse(&fat_boot_sector(0x26, b"FAT16   ")), expected);
        assert_eq!(Signature::parse(&fat_boot_sector(0x42, b"FAT32   ")), expected);
        assert_eq!(Signature::parse(&fat_boot_sector(0x26, b"NTFS    ")), None);
    }

    #[test]
    fn f5_a_sector_without_its_magic_is_no_fat() {
        let mut sector = fat_boot_sector(0x26, b"FAT16   ");
        sector[511] = 0;
        assert_eq!(Signature::parse(&sector), None);
    }

    #[test]
    fn an_iso_label_loses_its_padding() {
        let mut start = vec![0; 36 << 10];
        start[ISO_DESCRIPTOR..ISO_DESCRIPTOR + 6].copy_from_slice(b"\x01CD001");
        start[ISO_DESCRIPTOR + 40..ISO_DESCRIPTOR + 72].fill(b' ');
        start[ISO_DESCRIPTOR + 40..ISO_DESCRIPTOR + 48].copy_from_slice(b"BEDPLATE");
        let expected = Signature::Iso9660 { volume_id: "BEDPLATE".to_owned() };
        assert_eq!(Signature::parse(&start), Some(expected));
    }

    #[test]
    fn a_luks2_header_gives_its_uuid_and_luks1_none() {
        let mut start = vec![0; 4096];
        start[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
        start[168..204].copy_from_slice(b"12345678-9abc-4def-8123-456789abcdef");
        let uuid = "12345678-9abc-4def-8123-456789abcdef".to_owned();
        assert_eq!(Signature::parse(&start), Some(Signature::Luks2 { uuid }));
        start[7] = 1;
        assert_eq!(Signature::parse(&start), None);
    }

    #[test]
    fn short_and_random_starts_are_nothing() {
        for length in [0, 1, 7, 200, 511, 512, 4096, ISO_DESCRIPTOR + 10] {
            assert_eq!(Signature::parse(&vec![0xa5; length]), None, "{length}");
        }
    }

    #[test]
    fn t46_a_volume_is_known_by_its_second_header_and_not_by_what_is_left_of_one() {
        use std::os::unix::fs::FileExt as _;
        let whole = crate::luks2::tests::both(1, 1);
        let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".to_owned();
        let read = |bend: &dyn Fn(&File)| {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().write_all_at(&whole, 0).unwrap();
            bend(file.as_file());
            Signature::read(file.path()).unwrap()
        };
        let known = Some(Signature::Luks2 { uuid });
        assert_eq!(read(&|_| ()), known);
        assert_eq!(read(&|file| file.write_all_at(&[0xff; 16], 0).unwrap()), known);
        assert_eq!(read(&|file| file.write_all_at(&[0; 16 << 10], 0).unwrap()), known);
        let ext4 = |file: &File| {
            file.write_all_at(&[0; 4096], 0).unwrap();
            file.write_all_at(b"\x53\xef", 1080).unwrap();
        };
        assert_eq!(read(&ext4), None);
    }
}
