//! What a machine is found to be: read once, before anything is decided.
//!
//! Architecture invariant: nothing is written, nothing is printed, and no C library is linked,
//! so that `bedplate inventory` builds and runs on any Linux. How signatures are looked for is
//! handed in ([`probe::Probe`]): the installer asks libblkid, the workstation `wipefs`.

pub mod boot_entry;
pub mod disks;
pub mod holders;
pub mod machine;
pub mod modules;
pub mod probe;
pub mod roots;
pub mod table;
