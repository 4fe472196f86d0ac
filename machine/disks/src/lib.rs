//! Disks that are written to.
//!
//! Architecture invariant: whatever destroys something on a disk works through a [`Claim`], and a
//! claim can only be had by opening the device exclusively and comparing *what is open* with the
//! disk that was meant. A name under `/dev` is looked up once, by the open itself: whatever becomes
//! of the name afterwards, what is written to is the disk that was compared.
//!
//! LUKS headers are written by `bedplate-luks`, under the name of a [`Lent`]: the workstation claims key sticks by
//! this crate, and links no C library of the machine.

mod claim;
mod error;
mod fill;
mod held;
mod identity;
pub mod pool_fs;

pub use claim::{Claim, Lent, partition_name};
pub use error::{ClaimError, Fault};
pub use fill::Table;
pub use identity::Identity;
