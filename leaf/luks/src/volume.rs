//! Opening, closing, testing and saving LUKS2 volumes.

use std::io::ErrorKind;
use std::path::Path;

use libcryptsetup_rs::consts::flags::{CryptActivate, CryptDeactivate};
use libcryptsetup_rs::consts::vals::{CryptStatusInfo, EncryptionFormat};
use libcryptsetup_rs::{CryptDevice, CryptInit, LibcryptErr, status};
use uuid::Uuid;

use crate::error::is_errno;
use crate::{LuksError, Result, log};

/// Maps the volume to `/dev/mapper/<mapper>`; `slot: None` tries every keyslot.
///
/// Where no udev runs, `DM_DISABLE_UDEV=1` must be in the environment.
pub fn open(
    device: &Path,
    mapper: &str,
    slot: Option<u32>,
    key: &[u8],
    discard: bool,
) -> Result<()> {
    let _guard = log::begin();
    match activate(device, Some(mapper), slot, key, flags(discard))? {
        true => Ok(()),
        false => Err(LuksError::WrongKey { device: device.to_owned() }),
    }
}

/// As [`open`], so that nothing can be written through the mapping.
pub fn open_read_only(device: &Path, mapper: &str, slot: Option<u32>, key: &[u8]) -> Result<()> {
    let _guard = log::begin();
    match activate(device, Some(mapper), slot, key, CryptActivate::READONLY)? {
        true => Ok(()),
        false => Err(LuksError::WrongKey { device: device.to_owned() }),
    }
}

/// As [`open`], so that udev leaves the mapping alone: nobody looks at what stands in it. Where udev
/// runs, and `DM_DISABLE_UDEV` is not set.
pub fn open_unseen(device: &Path, mapper: &str, slot: Option<u32>, key: &[u8]) -> Result<bool> {
    let _guard = log::begin();
    activate(device, Some(mapper), slot, key, CryptActivate::PRIVATE)
}

/// Whether the key opens the keyslot, or any keyslot, without mapping anything.
pub fn test_key(device: &Path, slot: Option<u32>, key: &[u8]) -> Result<bool> {
    let _guard = log::begin();
    activate(device, None, slot, key, CryptActivate::empty())
}

/// Whether a mapping of this name exists.
pub fn is_open(mapper: &str) -> bool {
    let _guard = log::begin();
    matches!(status(None, mapper), Ok(CryptStatusInfo::Active | CryptStatusInfo::Busy))
}

/// Removes the mapping.
pub fn close(mapper: &str) -> Result<()> {
    let _guard = log::begin();
    let subject = Path::new("/dev/mapper").join(mapper);
    let failed = |error| LuksError::operation("close the volume", &subject)(error);
    let mut device = CryptInit::init_by_name_and_header(mapper, None).map_err(failed)?;
    device.activate_handle().deactivate(mapper, CryptDeactivate::empty()).map_err(failed)
}

/// Writes a copy of the header and its keyslots to a file that must not exist yet.
pub fn backup_header(device: &Path, file: &Path) -> Result<()> {
    let _guard = log::begin();
    let mut header = load(device)?;
    header
        .backup_handle()
        .header_backup(Some(EncryptionFormat::Luks2), file)
        .map_err(LuksError::operation("save the LUKS header", device))
}

/// The UUID of the header.
pub fn uuid(device: &Path) -> Result<Uuid> {
    let _guard = log::begin();
    let mut header = load(device)?;
    header.status_handle().get_uuid().map_err(LuksError::operation("read the LUKS UUID", device))
}

/// What passes through to the device.
pub(crate) fn flags(discard: bool) -> CryptActivate {
    if discard { CryptActivate::ALLOW_DISCARDS } else { CryptActivate::empty() }
}

pub(crate) fn activate(
    device: &Path,
    mapper: Option<&str>,
    slot: Option<u32>,
    key: &[u8],
    flags: CryptActivate,
) -> Result<bool> {
    if key.is_empty() {
        return Ok(false);
    }
    let mut header = load(device)?;
    match header.activate_handle().activate_by_passphrase(mapper, slot, key, flags) {
        Ok(_) => Ok(true),
        Err(error) if does_not_fit(&error) => Ok(false),
        Err(error) => Err(LuksError::operation("open the volume", device)(error)),
    }
}

/// A wrong key, or a keyslot that is not there.
fn does_not_fit(error: &LibcryptErr) -> bool {
    is_errno(error, ErrorKind::PermissionDenied) || is_errno(error, ErrorKind::NotFound)
}

pub(crate) fn load(device: &Path) -> Result<CryptDevice> {
    let failed = |error| LuksError::operation("read the LUKS header", device)(error);
    let mut header = CryptInit::init(device).map_err(failed)?;
    header.context_handle().load::<()>(Some(EncryptionFormat::Luks2), None).map_err(failed)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discards_pass_only_where_they_are_asked_for() {
        assert_eq!(flags(true).bits(), CryptActivate::ALLOW_DISCARDS.bits());
        assert_eq!(flags(false).bits(), 0);
    }
}
