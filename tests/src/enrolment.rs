//! The story of an owner's repository: prepared on the workstation, enrolled by the medium, its
//! secrets opened by the first boot, and the host's commit fetched back.

pub mod claims;
pub mod machine;
pub mod probes;
pub mod sops_file;
pub mod workstation;
