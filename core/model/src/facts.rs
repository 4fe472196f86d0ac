//! What a machine was found to be: read once, before anything is decided.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything the planner knows of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Schema of this document, 1.
    pub schema: u32,
    /// Whole disks, in no particular order.
    pub disks: Vec<DiskFacts>,
    /// How the machine booted.
    pub firmware: FirmwareKind,
    /// How many bits the programs of a UEFI firmware have, 32 or 64; none in an inventory that did
    /// not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_bits: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The platform as Nix names it: `x86_64-linux`; none in an inventory that did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whose microcode the processor takes: `intel` or `amd`, when it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microcode: Option<String>,
    /// Network interfaces.
    #[serde(default)]
    pub nics: Vec<NicFacts>,
    /// Kernel name (`sdb`) of the disk that holds the booted medium, when there is one.
    #[serde(default)]
    pub boot_medium: Option<String>,
    /// Bytes that the system on the booted medium takes in a store, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure_bytes: Option<u64>,
    /// How many of them are of a system that was built on the workstation, when the medium carries
    /// one: all that a machine of NixOS gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_bytes: Option<u64>,
    /// The file system image on the booted medium that can become that of the OS disk, when
    /// there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_image: Option<SystemImageFacts>,
    /// The same of a system that was built on the workstation, when the medium carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_image: Option<SystemImageFacts>,
}

/// A file system image on the booted medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemImageFacts {
    /// The least a device must have for it, in bytes.
    pub size: u64,
    /// How much of it is written, in bytes.
    pub bytes: u64,
}

/// How the machine booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareKind {
    /// By UEFI: the kernel shows `/sys/firmware/efi`.
    Uefi,
    /// Legacy BIOS.
    Bios,
}

/// One whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Kernel name, such as `nvme0n1`. Changes from boot to boot.
    pub kernel_name: String,
    /// Device number as `major:minor`, from the disk's `dev` in sysfs.
    pub number: String,
    /// Names under `/dev/disk/by-id` that resolve to this whole disk, sorted.
    pub by_id: Vec<String>,
    /// Names under `/dev/disk/by-id` that resolve to partitions of this disk, sorted.
    #[serde(default)]
    pub partition_by_id: Vec<String>,
    /// Serial number as the kernel or udev reports it.
    #[serde(default)]
    pub serial: Option<String>,
    /// World wide name (`nvme.…`, `eui.…`, `naa.…`).
    #[serde(default)]
    pub wwn: Option<String>,
    /// Model as sysfs or else udev has it; none when neither does.
    #[serde(default)]
    pub model: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Whether it rotates.
    pub rotational: bool,
    /// `nvme`, `sata`, `scsi`, `usb`, `virtio`, `mmc`, `loop`, `zram`, `optical`, `floppy`, `md`, `dm`, `nbd`,
    /// `aoe`, `rbd`, `drbd`, `bcache`, `zvol`, `ram` or `unknown`.
    pub transport: String,
    /// What the disk is reached by over a network: `iscsi`, or `tcp`, `rdma` and the like of NVMe;
    /// none for a disk of the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// `host-managed` or `host-aware` for a disk whose zones are written in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zoned: Option<String>,
    /// Kernel modules that drive it and what it hangs on, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Whether it can be removed.
    #[serde(default)]
    pub removable: bool,
    /// Whether it refuses writes.
    #[serde(default)]
    pub read_only: bool,
    /// Kernel's sequence number of the disk, unique within one boot.
    #[serde(default)]
    pub diskseq: Option<u64>,
    /// Who uses the disk or a partition of it: `dm-3 (luks-x)`, `md127`, `mounted at /x`, `swap`, `multipath mpatha`.
    #[serde(default)]
    pub holders: Vec<String>,
    /// Signatures found on the disk and its partitions.
    #[serde(default)]
    pub signatures: Vec<Signature>,
    /// What of ours was found on the disk.
    #[serde(default)]
    pub bedplate: Option<TokenFacts>,
}

impl DiskFacts {
    /// Whether this is one of its names under `/dev/disk/by-id`.
    pub fn has_id(&self, id: &str) -> bool {
        self.by_id.iter().any(|name| name == id)
    }
}

/// A signature on a disk or on a partition of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    /// Partition number, none for the whole disk.
    #[serde(default)]
    pub partition: Option<u32>,
    /// Type as libblkid names it: `gpt`, `btrfs`, `crypto_LUKS`, `vfat`, `linux_raid_member`, ….
    pub kind: String,
    /// Label of the file system or volume; none when the signature has none.
    #[serde(default)]
    pub label: Option<String>,
    /// Its id as libblkid gives it, `1A2B-3C4D` of VFAT for one; none when the signature has none.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Size of the partition or disk it stands on, in bytes.
    pub size: u64,
}

impl Signature {
    /// Whether it is our own work on the volume or disk of this name, cut off.
    pub fn is_unfinished(&self, name: &str) -> bool {
        let same = |uuid: &String| uuid.eq_ignore_ascii_case(name);
        self.kind == kind::UNFINISHED && self.uuid.as_ref().is_some_and(same)
    }
}

/// Kinds of [`Signature`] that libblkid has no name for.
pub mod kind {
    /// It could not be read. Never the same as blank.
    pub const UNREADABLE: &str = "unreadable";
    /// Nothing was recognised, and the first or the last MiB is not zero: a disk that was encrypted
    /// without a header, for example.
    pub const UNKNOWN: &str = "unknown data";
    /// Our own work, cut off before anything could be recognised; `uuid` is the GUID of the disk or
    /// the id of the volume that was to be made.
    pub const UNFINISHED: &str = "unfinished";
    /// A LUKS header that no key opens: neither copy is whole, or it never got a keyslot.
    pub const TORN_HEADER: &str = "torn LUKS header";
    /// A partition table that the kernel does not show, because the first sectors are damaged.
    pub const UNSEEN_TABLE: &str = "unseen partition table";
    /// A boot entry and what it starts, on a disk without a LUKS volume of ours.
    pub const BOOT_ENTRY: &str = "boot entry";

    /// One of the two copies of a LUKS header is not whole, and the other is.
    pub fn broken_copy(which: &str) -> String {
        format!("broken {which} LUKS header")
    }

    /// Whether a kind is a [`broken_copy`].
    pub fn is_broken_copy(kind: &str) -> bool {
        ["primary", "secondary"].iter().any(|which| broken_copy(which) == kind)
    }
}

/// What of ours was found on a disk: the token `bedplate` of its LUKS2 header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// Plan hash written when the header was made.
    pub plan: String,
    /// UUID of the LUKS header.
    pub luks_uuid: String,
    /// Whether the installation was finished.
    pub sealed: bool,
    /// When it was, in seconds since 1970 by the clock of that machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_at: Option<u64>,
    /// Fingerprints of the document's sections it was made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sections: BTreeMap<String, String>,
    /// Whether the disk's EFI system partition starts something, every file of it by content; none without
    /// such a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<bool>,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicFacts {
    /// Interface name.
    pub name: String,
    /// MAC address, lower case with colons.
    pub mac: String,
    /// Kernel driver.
    #[serde(default)]
    pub driver: Option<String>,
    /// Kernel modules that drive it and what it hangs on, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Whether a link was seen.
    #[serde(default)]
    pub link: bool,
    /// What it carries: `ethernet`, `wireless`, `mobile`, `infiniband` or `other`; none in an inventory
    /// that did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Other names that udev gives it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_names: Vec<String>,
}
