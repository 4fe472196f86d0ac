//! What the machine is found to be. Read once, before anything is decided.

pub mod boot_entry;
pub mod disks;
pub mod holders;
pub mod machine;
pub mod roots;
