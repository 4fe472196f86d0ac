//! Packages to root file systems, initrd and ISO; in-place personalisation.
//!
//! [`build::build_iso`] makes a medium, [`personalize::personalize`] writes answers into one.
//! The tree of packages and everything made of it alone is cached, so that a change of our
//! own programs costs seconds.

pub mod answers;
mod boot_files;
pub mod build;
mod closure;
pub mod contents;
mod error;
pub mod identity;
mod initrd;
mod iso9660;
mod modules;
mod output;
pub mod outputs;
pub mod owned;
pub mod personalize;
mod platform;
mod programs;
pub mod system_image;
pub mod toplevel;
mod tree;
pub mod tree_nix;
mod verity_image;

pub use error::Error;
pub use iso9660::extract;
pub use verity_image::Verity;
