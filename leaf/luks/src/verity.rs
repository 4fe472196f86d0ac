//! dm-verity: images that cannot change unnoticed.

use std::path::{Path, PathBuf};

use libcryptsetup_rs::consts::flags::{CryptActivate, CryptVerity};
use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{
    CryptDevice, CryptInit, CryptParamsVerity, CryptParamsVerityRef, LibcryptErr,
};

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
    load(device, hash_offset, CryptVerity::empty())
        .and_then(|mut image| activate(&mut image, &root_hash, Some(name)))
        .map_err(LuksError::operation("open the verified image", device))?;
    Ok(Path::new("/dev/mapper").join(name))
}

/// The image by the superblock of its hash tree. One that is none is refused; what it says otherwise is
/// proven by the root hash.
fn load(
    device: &Path,
    hash_offset: u64,
    flags: CryptVerity,
) -> std::result::Result<CryptDevice, LibcryptErr> {
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
        flags,
    };
    let mut parameters: CryptParamsVerityRef<'_> = (&parameters).try_into()?;
    let mut handle = CryptInit::init(device)?;
    handle.context_handle().load(Some(EncryptionFormat::Verity), Some(&mut parameters))?;
    Ok(handle)
}

fn activate(
    image: &mut CryptDevice,
    root_hash: &[u8],
    name: Option<&str>,
) -> std::result::Result<(), LibcryptErr> {
    let flags = CryptActivate::READONLY;
    image.activate_handle().activate_by_volume_key(name, Some(root_hash), flags)
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
    use std::os::unix::fs::FileExt as _;

    use bedplate_tools::verity;

    use super::*;

    /// Opens it as stage 1 does, but for the mapping, which wants device-mapper: with this flag
    /// libcryptsetup itself reads everything and compares it, where the kernel does when it is read.
    fn verified(image: &Path, offset: u64, root_hash: &str) -> Result<()> {
        let root_hash = decode(root_hash)?;
        let _guard = log::begin();
        load(image, offset, CryptVerity::CHECK_HASH)
            .and_then(|mut loaded| activate(&mut loaded, &root_hash, None))
            .map_err(LuksError::operation("open the verified image", image))
    }

    #[test]
    fn t27_an_image_of_which_one_bit_was_changed_is_not_opened() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let (file, path, offset) = (image.as_file(), image.path(), 300 * 4096);
        let content: Vec<u8> = (0..offset).map(|at| (at / 7 % 251) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        let root = verity::append(path, offset).unwrap().unwrap();
        verified(path, offset, &root).unwrap();
        let end = file.metadata().unwrap().len();
        // Data; of the superblock the magic, version, algorithm, count of blocks and length of the salt; hashes
        // of both levels.
        let places = [0, 8, 32, 72, 80].map(|at| offset + at);
        let others = [0, offset / 2, offset - 1, offset + 4096 + 5, end - 4096];
        for at in places.into_iter().chain(others) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let told = verified(path, offset, &root).expect_err(&format!("byte {at}"));
            assert!(told.to_string().contains("open the verified image"), "{told}");
            file.write_all_at(&byte, at).unwrap();
        }
        // Where the superblock is none, nothing is asked of the kernel at all.
        assert!(load(path, offset, CryptVerity::empty()).is_ok());
        assert!(load(path, offset + 4096, CryptVerity::empty()).is_err());
        // Whole, and not the one that stage 1 was made for.
        assert!(verified(path, offset, &"ab".repeat(32)).is_err());
        // A medium that was cut short.
        file.set_len(end - 4096).unwrap();
        assert!(verified(path, offset, &root).is_err());
    }

    #[test]
    fn a_root_hash_is_hexadecimal() {
        assert_eq!(decode("00fFa1").unwrap(), [0, 0xff, 0xa1]);
        for wrong in ["", "abc", "zz", "12 4"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
