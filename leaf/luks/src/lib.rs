//! LUKS2 and dm-verity through libcryptsetup.
//!
//! Architecture invariant: no policy and no output. libcryptsetup is one lock per process: two
//! calls never run at once, whatever the threads; disks are formatted in parallel by processes.

mod argon;
mod attempt;
mod beside;
mod error;
mod format;
mod log;
mod token;
mod verity;
mod volume;

pub use argon::{ArgonCost, argon_cost, benchmark_argon};
pub use attempt::{Attempt, Derivation, attempt, keyslots};
pub use beside::{read_beside, write_beside};
pub use error::LuksError;
pub use format::{Format, HEADER_BYTES, KEYFILE_SLOT, PASSPHRASE_SLOT, format, format_and_open};
pub use token::{Standing, Token, backup_sealed, read_token, seal, standing};
pub use verity::open_verity;
pub use volume::{
    backup_header, close, is_open, open, open_read_only, open_unseen, test_key, uuid,
};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, LuksError>;
