//! One thin, policy-free module per external tool.
//!
//! Architecture invariant: nothing here prints, decides or knows of `host.toml`.

pub mod ask_password;
pub mod block;
pub mod btrfs;
pub mod btrfs_live;
pub mod command;
pub mod cpio;
pub mod cpuid;
pub mod efi;
pub mod erofs;
pub mod exportfs;
pub mod git;
pub mod ip;
pub mod kvm;
pub mod ldd;
pub mod luks2;
pub mod mmdebstrap;
pub mod mount;
pub mod networkctl;
pub mod nft;
pub mod nix;
pub mod nix_log;
pub mod partition_table;
pub mod patchelf;
pub mod programs;
pub mod qcow2;
pub mod qemu_img;
pub mod restic;
pub mod secret;
pub mod signature;
pub mod sops;
pub mod squashfs;
pub mod ssh;
pub mod ssh_keygen;
pub mod sync;
pub mod systemctl;
pub mod systemd_analyze;
pub mod terminals;
pub mod udev;
pub mod unfinished;
pub mod verity;
pub mod virsh;
pub mod wipefs;
pub mod xorriso;
