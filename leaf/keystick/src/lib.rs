//! The key stick: a VFAT volume with the keyfile, the recovery passphrase, generated secrets
//! and header backups.
//!
//! Architecture invariant: every program that reads or writes a key stick does it here. Nothing
//! here knows `host.toml` or prints; no link is followed and nothing outside the stick is read.

mod error;
mod file;
pub mod layout;
mod mounted;
mod passphrase;
mod volume;

pub use error::StickError;
pub use file::{read, read_if_there, write};
pub use mounted::{Mounted, is_stick, read_from};
pub use passphrase::{keyfile, passphrase};
pub use volume::{Contents, Device, Volume, make, read_volume};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, StickError>;
