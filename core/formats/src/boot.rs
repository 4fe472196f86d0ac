//! What PID 1 is told by the file `/bedplate/boot.json` of its initrd.

use std::collections::BTreeMap;

use bedplate_model::name::MapperName;
use bedplate_model::plan::Holder;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Path of the document inside the initrd.
pub const BOOT_FILE: &str = "/bedplate/boot.json";

/// Volume label of the installation medium (ISO 9660 volume identifier).
pub const MEDIUM_LABEL: &str = "BEDPLATE";

/// Name of the image that holds the platform's file system.
pub const TREE: &str = Holder::Tree.image();

/// Name of the image with a system that was built on the workstation: its closure but for what the
/// other images hold, with its registration. Not every medium has one.
pub const TOPLEVEL: &str = Holder::Toplevel.image();

/// What PID 1 brings up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Boot {
    /// The live system of the medium.
    Live(Live),
    /// Stage 1 of an installed embedded platform.
    Unlock(Unlock),
}

/// The live system of the medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The same in the initrd and in `/live/build` of the medium, so that the right one is found.
    pub build: String,
    /// Images to open through dm-verity and mount at `/run/bedplate/<name>`.
    pub images: Vec<Image>,
    /// Store path of the tree that becomes the root.
    pub tree: String,
    /// Directory inside an image whose files are laid over the root: `programs/live`.
    pub overlay: String,
}

/// One image on the medium: a read-only file system followed by its dm-verity hash tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Name of the mount below `/run/bedplate`.
    pub name: String,
    /// File on the medium, relative to its root.
    pub file: String,
    /// The kernel's name of its file system: `squashfs`, or `erofs` where a file is large.
    pub kind: String,
    /// dm-verity root hash, hexadecimal.
    pub root_hash: String,
    /// Where the verity superblock and hash tree start, in bytes; a multiple of 4096.
    pub hash_offset: u64,
    /// A btrfs file system inside the image whose subvolume is mounted there too, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<Inner>,
}

/// A btrfs file system that is a file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// The file, relative to the root of the image.
    pub file: String,
    /// The subvolume, and the directory of the image it is mounted at.
    pub subvolume: String,
}

/// Stage 1 of an installed embedded platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock {
    /// UUID of the OS disk's LUKS header.
    pub luks_uuid: Uuid,
    /// Name under `/dev/mapper`.
    pub mapper: MapperName,
    /// Whether discards pass through.
    pub discard: bool,
    /// VFAT volume ids of the key sticks.
    pub sticks: Vec<String>,
    /// Path of the keyfile on the stick.
    pub keyfile: String,
    /// How long to wait for a stick before asking, in seconds.
    pub timeout_seconds: u32,
    /// Subvolume name to mount point.
    pub subvolumes: BTreeMap<String, String>,
}
