//! What a machine is found to be: read once, before anything is decided.
//!
//! Architecture invariant: nothing is written, nothing is printed, and no C library is linked,
//! so that `bedplate inventory` builds and runs on any Linux. Signatures are looked for by `wipefs`
//! everywhere, with the libblkid of the system that it stands on; what finds them is handed in
//! ([`probe::Probe`]), so that tests can show another machine.

pub mod boot_chain;
pub mod content;
pub mod disks;
pub mod ends;
pub mod holders;
pub mod machine;
pub mod media;
pub mod modules;
pub mod probe;
pub mod roots;
pub mod sections;
pub mod standing;
pub mod table;
