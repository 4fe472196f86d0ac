//! One thin, policy-free module per external tool.
//!
//! Architecture invariant: nothing here prints, decides or knows of `host.toml`.

pub mod block;
pub mod command;
pub mod ldd;
pub mod mmdebstrap;
pub mod mount;
pub mod patchelf;
pub mod secret;
pub mod signature;
pub mod virsh;
pub mod restic;
pub mod exportfs;
pub mod qemu_img;
pub mod networkctl;
pub mod systemctl;
pub mod squashfs;
pub mod verity;
pub mod xorriso;
pub mod udev;
pub mod btrfs;
pub mod nix;
pub mod git;
pub mod sync;
