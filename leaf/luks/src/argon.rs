//! The cost of the recovery passphrase's key derivation.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcryptsetup_rs::consts::flags::{CryptPbkdf, CryptVolumeKey};
use libcryptsetup_rs::consts::vals::{CryptKdf, EncryptionFormat};
use libcryptsetup_rs::{CryptInit, CryptPbkdfType, Either};

use crate::format::HASH;
use crate::{LuksError, Result, log};

/// Enough for a LUKS2 header with one keyslot.
const SCRATCH_SIZE: u64 = 32 << 20;

/// The cost of one Argon2id run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ArgonCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes that are worked on at the same time.
    pub threads: u32,
}

impl ArgonCost {
    /// The least that LUKS2 accepts: for tests, not for a passphrase that protects anything.
    pub const fn minimal() -> Self {
        Self { memory_kib: 32, iterations: 4, threads: 1 }
    }

    /// The same with at most this much memory.
    pub fn capped(self, memory_kib: u32) -> Self {
        Self { memory_kib: self.memory_kib.min(memory_kib.max(32)), ..self }
    }

    pub(crate) fn fixed(self) -> CryptPbkdfType {
        CryptPbkdfType {
            type_: CryptKdf::Argon2Id,
            hash: Some(HASH.to_owned()),
            time_ms: 0,
            iterations: self.iterations,
            max_memory_kb: self.memory_kib,
            parallel_threads: self.threads,
            flags: CryptPbkdf::NO_BENCHMARK,
        }
    }
}

/// Finds the cost that takes about `time` on this machine within `memory_cap_kib`.
///
/// Runs libcryptsetup's benchmark once, on a scratch header in the temporary directory: its
/// bindings offer no other way to it.
pub fn benchmark_argon(memory_cap_kib: u32, time: Duration) -> Result<ArgonCost> {
    let scratch = Scratch::create()?;
    let _guard = log::begin();
    let failed = |error| LuksError::operation("benchmark Argon2id", &scratch.0)(error);
    let mut device = CryptInit::init(&scratch.0).map_err(failed)?;
    let wanted = CryptPbkdfType {
        time_ms: u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
        iterations: 0,
        flags: CryptPbkdf::empty(),
        ..ArgonCost { memory_kib: memory_cap_kib, iterations: 0, threads: 4 }.fixed()
    };
    device.settings_handle().set_pbkdf_type(&wanted).map_err(failed)?;
    device
        .context_handle()
        .format::<()>(
            EncryptionFormat::Luks2,
            ("aes", "xts-plain64"),
            None,
            Either::Right(64),
            None,
        )
        .map_err(failed)?;
    device
        .keyslot_handle()
        .add_by_key(Some(0), None, b"benchmark", CryptVolumeKey::empty())
        .map_err(failed)?;
    let found = device.keyslot_handle().get_pbkdf(0).map_err(failed)?;
    Ok(ArgonCost {
        memory_kib: found.max_memory_kb,
        iterations: found.iterations,
        threads: found.parallel_threads,
    })
}

/// What deriving from the passphrase of a keyslot costs.
pub fn argon_cost(device: &Path, slot: u32) -> Result<ArgonCost> {
    let _guard = log::begin();
    let failed = |error| LuksError::operation("read a keyslot", device)(error);
    let mut header = CryptInit::init(device).map_err(failed)?;
    header.context_handle().load::<()>(Some(EncryptionFormat::Luks2), None).map_err(failed)?;
    let found = header.keyslot_handle().get_pbkdf(slot).map_err(failed)?;
    Ok(ArgonCost {
        memory_kib: found.max_memory_kb,
        iterations: found.iterations,
        threads: found.parallel_threads,
    })
}

/// A file that is removed on every way out.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("bedplate-benchmark-{}", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let failed = |source| file_error("make a scratch header", &path, source);
        made.and_then(|file| file.set_len(SCRATCH_SIZE)).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it: a benchmark's header holds no key of anybody.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file_error(operation: &'static str, path: &Path, source: std::io::Error) -> LuksError {
    LuksError::File { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_stays_within_its_memory() {
        let cost = benchmark_argon(2048, Duration::from_millis(50)).unwrap();
        assert!(cost.memory_kib <= 2048 && cost.memory_kib >= 32, "{cost:?}");
        assert!(cost.iterations >= 4 && cost.threads >= 1, "{cost:?}");
    }

    #[test]
    fn a_cap_lowers_memory_only() {
        let cost = ArgonCost { memory_kib: 1 << 20, iterations: 5, threads: 4 };
        assert_eq!(cost.capped(1 << 16), ArgonCost { memory_kib: 1 << 16, ..cost });
        assert_eq!(cost.capped(1 << 22), cost);
    }
}
