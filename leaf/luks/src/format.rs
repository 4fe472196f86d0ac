//! Making a LUKS2 header with its two keyslots and token.

use std::path::Path;

use libcryptsetup_rs::consts::flags::{CryptPbkdf, CryptVolumeKey};
use libcryptsetup_rs::consts::vals::{CryptKdf, EncryptionFormat, KeyslotsSize, MetadataSize};
use libcryptsetup_rs::{
    CryptDevice, CryptInit, CryptParamsLuks2, CryptParamsLuks2Ref, CryptPbkdfType, Either,
    LibcryptErr,
};
use uuid::Uuid;

use crate::volume::flags;
use crate::{ArgonCost, LuksError, Result, Token, log, token};

/// Keyslot of the keyfile.
pub const KEYFILE_SLOT: u32 = 0;

/// Keyslot of the recovery passphrase.
pub const PASSPHRASE_SLOT: u32 = 1;

/// Bytes of a header with its keyslots, and so of a backup of it: seven keyslots instead of
/// sixty. What no keyslot uses is random and does not pack; seven backups fit on any stick.
pub const HEADER_BYTES: u64 = 2 << 20;

/// Two copies of the binary header and its JSON.
const METADATA_BYTES: u64 = 2 * (16 << 10);

/// Bytes of an XTS key of twice 256 bits.
const VOLUME_KEY_SIZE: usize = 64;

/// Bytes that are encrypted at once, whatever the disk's own sectors: btrfs reads and writes no less,
/// and it is half the work of 512. Parts of a torn write decrypt to parts of what was written (XTS).
const ENCRYPTION_SECTOR: u32 = 4096;

/// The hash of keyslots. SHA-512 fills a stripe of the anti-forensic splitter at once, where
/// SHA-256 takes two runs (LUKS2 On-Disk Format 1.1, section 3.2.1 and `AFsplitter` of LUKS1).
pub(crate) const HASH: &str = "sha512";

/// A header to be made.
#[derive(Clone, Copy)]
pub struct Format<'a> {
    /// Partition or file.
    pub device: &'a Path,
    /// UUID of the header.
    pub uuid: Uuid,
    /// Label of the header.
    pub label: &'a str,
    /// Content of the keyfile: random, so its derivation is the cheapest there is.
    pub keyfile: &'a [u8],
    /// The recovery passphrase.
    pub passphrase: &'a [u8],
    /// What deriving from the passphrase costs.
    pub argon: ArgonCost,
    /// The token to put in.
    pub token: &'a Token,
}

/// Writes the header: everything on the device is lost.
pub fn format(format: &Format<'_>) -> Result<()> {
    let _guard = log::begin();
    make(format).map(drop)
}

/// Writes the header and maps the volume to `/dev/mapper/<mapper>`. The volume key is still at
/// hand, so no keyslot is opened for it: testing them is another matter.
///
/// Where no udev runs, `DM_DISABLE_UDEV=1` must be in the environment.
pub fn format_and_open(format: &Format<'_>, mapper: &str, discard: bool) -> Result<()> {
    let _guard = log::begin();
    make(format)?
        .activate_handle()
        .activate_by_volume_key(Some(mapper), None, flags(discard))
        .map_err(LuksError::operation("open the new volume", format.device))
}

fn make(format: &Format<'_>) -> Result<CryptDevice> {
    let device = format.device;
    if format.keyfile.is_empty() || format.passphrase.is_empty() {
        return Err(LuksError::EmptyKey { device: device.to_owned() });
    }
    let mut header =
        CryptInit::init(device).map_err(LuksError::operation("open the device", device))?;
    write_header(&mut header, format)
        .map_err(LuksError::operation("write the LUKS header", device))?;
    // Before the first key: a header that keys open and that has no token is somebody else's.
    token::add(&mut header, format.token).map_err(LuksError::operation("add the token", device))?;
    add_slot(&mut header, KEYFILE_SLOT, format.keyfile, &cheapest())
        .map_err(LuksError::operation("add the keyfile's keyslot", device))?;
    add_slot(&mut header, PASSPHRASE_SLOT, format.passphrase, &format.argon.fixed())
        .map_err(LuksError::operation("add the passphrase's keyslot", device))?;
    Ok(header)
}

fn write_header(
    header: &mut CryptDevice,
    format: &Format<'_>,
) -> std::result::Result<(), LibcryptErr> {
    let parameters = CryptParamsLuks2 {
        pbkdf: Some(cheapest()),
        integrity: None,
        integrity_params: None,
        data_alignment: 0,
        data_device: None,
        sector_size: ENCRYPTION_SECTOR,
        label: Some(format.label.to_owned()),
        subsystem: None,
    };
    let mut parameters: CryptParamsLuks2Ref<'_> = (&parameters).try_into()?;
    let keyslots = KeyslotsSize::try_from(HEADER_BYTES - METADATA_BYTES)?;
    header.settings_handle().set_metadata_size(MetadataSize::Kb16, keyslots)?;
    header.context_handle().format(
        EncryptionFormat::Luks2,
        ("aes", "xts-plain64"),
        Some(format.uuid),
        Either::Right(VOLUME_KEY_SIZE),
        Some(&mut parameters),
    )
}

fn add_slot(
    header: &mut CryptDevice,
    slot: u32,
    key: &[u8],
    cost: &CryptPbkdfType,
) -> std::result::Result<(), LibcryptErr> {
    header.settings_handle().set_pbkdf_type(cost)?;
    header.keyslot_handle().add_by_key(Some(slot), None, key, CryptVolumeKey::empty()).map(drop)
}

fn cheapest() -> CryptPbkdfType {
    CryptPbkdfType {
        type_: CryptKdf::Pbkdf2,
        hash: Some(HASH.to_owned()),
        time_ms: 0,
        iterations: 1000,
        max_memory_kb: 0,
        parallel_threads: 0,
        flags: CryptPbkdf::NO_BENCHMARK,
    }
}
