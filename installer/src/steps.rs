//! What each group of steps does.

pub mod boot;
pub mod closure;
pub mod disks;
pub mod file_systems;
pub mod flake;
pub mod host_key;
pub mod kept;
pub mod luks;
pub mod stick;
pub mod system;
pub mod system_image;
