//! Keyslots tried one by one, for those who count what each cost.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use libcryptsetup_rs::consts::vals::{CryptKdf, KeyslotInfo};

use crate::{LuksError, Result, log, volume};

/// How a keyslot derives its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// Cheap; for keys that are random.
    Pbkdf2,
    /// Takes time and memory; for keys that people type.
    Argon2id,
    /// Something that we do not make.
    Other,
}

/// One key tried on one keyslot: one run of its derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The keyslot.
    pub slot: u32,
    /// How it derives.
    pub derivation: Derivation,
    /// Whether the key fits; then the volume is open.
    pub fits: bool,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let derivation = match self.derivation {
            Derivation::Pbkdf2 => "pbkdf2",
            Derivation::Argon2id => "argon2id",
            Derivation::Other => "unknown",
        };
        let what = if self.fits { "opened" } else { "refused" };
        let (slot, took) = (self.slot, self.took.as_millis());
        write!(formatter, "{what} by keyslot {slot} ({derivation}) in {took} ms")
    }
}

/// Tries the key on one keyslot and maps the volume to `/dev/mapper/<mapper>`, where one is
/// given, when it fits. `None` when there is no such keyslot: nothing was derived.
///
/// Where no udev runs, `DM_DISABLE_UDEV=1` must be in the environment.
pub fn attempt(
    device: &Path,
    mapper: Option<&str>,
    slot: u32,
    key: &[u8],
    discard: bool,
) -> Result<Option<Attempt>> {
    if !keyslots(device)?.contains(&slot) {
        return Ok(None);
    }
    let begun = Instant::now();
    let guard = log::begin();
    let fits = volume::activate(device, mapper, Some(slot), key, volume::flags(discard))?;
    drop(guard);
    let took = begun.elapsed();
    Ok(Some(Attempt { slot, derivation: derivation(device, slot)?, fits, took }))
}

/// The keyslots that hold a key, in order.
pub fn keyslots(device: &Path) -> Result<Vec<u32>> {
    let _guard = log::begin();
    let mut header = volume::load(device)?;
    let failed = |error| LuksError::operation("list the keyslots", device)(error);
    let mut found = Vec::new();
    for slot in 0..KEYSLOTS {
        let state = header.keyslot_handle().status(slot).map_err(failed)?;
        if matches!(state, KeyslotInfo::Active | KeyslotInfo::ActiveLast) {
            found.push(slot);
        }
    }
    Ok(found)
}

/// How many keyslots LUKS2 knows.
const KEYSLOTS: u32 = 32;

fn derivation(device: &Path, slot: u32) -> Result<Derivation> {
    let _guard = log::begin();
    let mut header = volume::load(device)?;
    let found = header
        .keyslot_handle()
        .get_pbkdf(slot)
        .map_err(LuksError::operation("look at a keyslot", device))?;
    Ok(match found.type_ {
        CryptKdf::Pbkdf2 => Derivation::Pbkdf2,
        CryptKdf::Argon2Id => Derivation::Argon2id,
        CryptKdf::Argon2I => Derivation::Other,
    })
}
