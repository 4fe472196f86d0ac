//! Machines as data, firmware, disks with identities, QMP, expectations.
//!
//! Architecture invariant: this crate starts and watches virtual machines; what is asserted of
//! them stands in `tests`. It never prints.

pub mod accelerator;
mod boot_sector;
pub mod canary;
mod console;
pub mod disk_image;
pub mod error;
pub mod faults;
pub mod guest_agent;
pub mod guest_disk;
pub mod guest_modules;
pub mod http;
pub mod machine;
pub mod nbd;
pub mod pace;
pub mod qmp;
pub mod running;
mod screen;
pub mod ssh;
pub mod watch;

pub use error::HarnessError;
