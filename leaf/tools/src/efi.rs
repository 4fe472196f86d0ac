//! EFI variables and boot options, through efivarfs.
//!
//! Boot options are `EFI_LOAD_OPTION` of the UEFI specification 2.10, section 3.1.3; their device
//! paths those of section 10.3.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::IFlags;
use uuid::Uuid;

/// Where efivarfs is mounted.
pub const MOUNT: &str = "/sys/firmware/efi/efivars";

/// The vendor of `BootNext` and `Boot0000`.
pub const GLOBAL: Uuid = Uuid::from_u128(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);

/// Kept over power cycles, and visible to firmware and system.
const ATTRIBUTES: u32 = 1 | 2 | 4;

/// `LOAD_OPTION_ACTIVE` of section 3.1.3: the firmware tries the option in its turn.
const ACTIVE: u32 = 1;

/// The variables below a mounted efivarfs.
#[derive(Debug, Clone)]
pub struct Variables {
    directory: PathBuf,
}

impl Variables {
    /// Those of `directory`, [`MOUNT`] on a machine.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self, name: &str, vendor: Uuid) -> PathBuf {
        self.directory.join(format!("{name}-{vendor}"))
    }

    /// The value of a variable; none when it is not set.
    pub fn read(&self, name: &str, vendor: Uuid) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name, vendor)) {
            Ok(bytes) => Ok(bytes.get(4..).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a variable, unless it has this value.
    pub fn write(&self, name: &str, vendor: Uuid, value: &[u8]) -> io::Result<()> {
        if self.read(name, vendor)?.as_deref() == Some(value) {
            return Ok(());
        }
        let path = self.path(name, vendor);
        if path.exists() {
            // The kernel protects variables it does not know from being removed by mistake.
            let file = File::open(&path)?;
            if let Ok(flags) = rustix::fs::ioctl_getflags(&file) {
                rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
            }
        }
        let mut bytes = ATTRIBUTES.to_le_bytes().to_vec();
        bytes.extend(value);
        // The whole variable in one call: the kernel takes no second one.
        File::options().write(true).create(true).truncate(false).open(&path)?.write_all(&bytes)
    }

    /// The number of the boot option with this value, made when there is none. The boot order
    /// stays as it is.
    pub fn boot_option(&self, option: &BootOption) -> io::Result<u16> {
        let wanted = option.encode();
        let mut free = None;
        for number in 0..=u16::MAX {
            match self.read(&option_name(number), GLOBAL)? {
                Some(found) if found == wanted => return Ok(number),
                Some(_) => {}
                None if free.is_none() => free = Some(number),
                // Firmware numbers without large gaps.
                None if number > 0x200 => break,
                None => {}
            }
        }
        let number = free.ok_or_else(|| io::Error::other("every boot option is taken"))?;
        self.write(&option_name(number), GLOBAL, &wanted)?;
        Ok(number)
    }

    /// What the firmware boots at the next start, and only then.
    pub fn set_boot_next(&self, number: u16) -> io::Result<()> {
        self.write("BootNext", GLOBAL, &number.to_le_bytes())
    }
}

fn option_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// A file on a GPT partition that the firmware can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOption {
    /// For people, in the firmware's menu.
    pub description: String,
    /// Number of the partition.
    pub partition: u32,
    /// First logical block.
    pub start: u64,
    /// Logical blocks.
    pub blocks: u64,
    /// Unique GUID of the partition.
    pub guid: Uuid,
    /// Path of the file, with backslashes.
    pub file: String,
}

impl BootOption {
    fn encode(&self) -> Vec<u8> {
        let mut paths = self.drive();
        paths.extend(self.file_path());
        paths.extend([0x7f, 0xff, 4, 0]);
        let mut bytes = ACTIVE.to_le_bytes().to_vec();
        bytes.extend(u16::try_from(paths.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend(utf16(&self.description));
        bytes.extend(paths);
        bytes
    }

    /// Media device path, hard drive; the GUID alone finds the partition.
    fn drive(&self) -> Vec<u8> {
        let mut node = vec![4, 1, 42, 0];
        node.extend(self.partition.to_le_bytes());
        node.extend(self.start.to_le_bytes());
        node.extend(self.blocks.to_le_bytes());
        node.extend(self.guid.to_bytes_le());
        // A GPT, known by a GUID.
        node.extend([2, 2]);
        node
    }

    /// Media device path, file.
    fn file_path(&self) -> Vec<u8> {
        let name = utf16(&self.file);
        let mut node = vec![4, 4];
        node.extend(u16::try_from(name.len() + 4).unwrap_or(u16::MAX).to_le_bytes());
        node.extend(name);
        node
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option() -> BootOption {
        BootOption {
            description: "A".into(),
            partition: 1,
            start: 2048,
            blocks: 0x20_0000,
            guid: Uuid::from_u128(0x00112233_4455_6677_8899_aabbccddeeff),
            file: "\\B".into(),
        }
    }

    #[test]
    fn a_boot_option_is_laid_out_as_the_specification_says() {
        let bytes = option().encode();
        assert_eq!(bytes[..4], [1, 0, 0, 0]);
        assert_eq!(bytes[4..6], [42 + 10 + 4, 0]);
        assert_eq!(bytes[6..10], [b'A', 0, 0, 0]);
        assert_eq!(bytes[10..18], [4, 1, 42, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[18..26], [0, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[34..42], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(bytes[50..], [2, 2, 4, 4, 10, 0, b'\\', 0, b'B', 0, 0, 0, 0x7f, 0xff, 4, 0]);
    }

    #[test]
    fn an_option_is_made_once_and_variables_carry_their_attributes() {
        let place = tempfile::tempdir().unwrap();
        let variables = Variables::new(place.path());
        variables.write("Boot0000", GLOBAL, b"other").unwrap();
        assert_eq!(variables.boot_option(&option()).unwrap(), 1);
        assert_eq!(variables.boot_option(&option()).unwrap(), 1);
        variables.set_boot_next(1).unwrap();
        let raw = fs::read(place.path().join("BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        assert_eq!(raw.unwrap(), [7, 0, 0, 0, 1, 0]);
        assert_eq!(variables.read("BootNext", GLOBAL).unwrap(), Some(vec![1, 0]));
        assert_eq!(variables.read("Boot0002", GLOBAL).unwrap(), None);
    }
}
