//! dm-verity: images that cannot change unnoticed.

use std::path::{Path, PathBuf};

use libcryptsetup_rs::consts::flags::{CryptActivate, CryptVerity};
use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptInit, CryptParamsVerity, CryptParamsVerityRef, LibcryptErr};

use crate::{LuksError, Result, log};

/// Maps `device` read-only to `/dev/mapper/<name>`; its own hash tree, with a superblock,
/// starts at `hash_offset`. Blocks are checked as they are read.
pub fn open_verity(
    device: &Path,
    hash_offset: u64,
    root_hash: &str,
    name: &str,
) -> Result<PathBuf> {
    let root_hash = decode(root_hash)?;
    let _guard = log::begin();
    activate(device, hash_offset, &root_hash, name)
        .map_err(LuksError::operation("open the verified image", device))?;
    Ok(Path::new("/dev/mapper").join(name))
}

fn activate(
    device: &Path,
    hash_offset: u64,
    root_hash: &[u8],
    name: &str,
) -> std::result::Result<(), LibcryptErr> {
    // Everything but the offset is read from the superblock.
    let parameters = CryptParamsVerity {
        hash_name: String::new(),
        data_device: device.to_owned(),
        hash_device: None,
        fec_device: None,
        salt: Vec::new(),
        hash_type: 0,
        data_block_size: 0,
        hash_block_size: 0,
        data_size: 0,
        hash_area_offset: hash_offset,
        fec_area_offset: 0,
        fec_roots: 0,
        flags: CryptVerity::empty(),
    };
    let mut parameters: CryptParamsVerityRef<'_> = (&parameters).try_into()?;
    let mut handle = CryptInit::init(device)?;
    handle.context_handle().load(Some(EncryptionFormat::Verity), Some(&mut parameters))?;
    let flags = CryptActivate::READONLY;
    handle.activate_handle().activate_by_volume_key(Some(name), Some(root_hash), flags)
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let wrong = || LuksError::RootHash { text: text.to_owned() };
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let digits = digits.filter(|digits| !digits.is_empty()).ok_or_else(wrong)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_hexadecimal() {
        assert_eq!(decode("00fFa1").unwrap(), [0, 0xff, 0xa1]);
        for wrong in ["", "abc", "zz", "12 4"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
