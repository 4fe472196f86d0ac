//! The plan: an ordered list of steps with nothing left to decide.
//!
//! `bedplate plan --json`, the confirmation screen and the engine use this same value.

mod describe;
mod order;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::host::{Export, FileSystem, HttpsSource, Push, Recovery, SshSource, Stick, Then};
use crate::name::{ByIdName, MapperName, PlanHash, PoolName, Role};

/// The subvolume that holds the store, and the directory beside the description of its image that it is
/// mounted at.
pub const STORE_SUBVOLUME: &str = "nix";

/// Which image of the medium holds a store as a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The one that is the live system's root too: the embedded platform's store.
    Tree,
    /// That of a system of NixOS that was built on the workstation: its closure.
    Toplevel,
}

impl Holder {
    /// The name of the image.
    pub const fn image(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Toplevel => "toplevel",
        }
    }
}

/// Where the EFI system partition is mounted on the installed system.
pub const BOOT: &str = "/boot";

/// Where its copy on another disk is mounted.
pub const BOOT_MIRROR: &str = "/boot-mirror";

/// Everything an installation will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Schema of this document, 1.
    pub schema: u32,
    /// The plan hash: lower-case hexadecimal SHA-256.
    pub hash: PlanHash,
    /// The `host.id` of `host.toml`, from which the ids in the steps are derived.
    pub host_id: Uuid,
    /// The `host.name` of `host.toml`.
    pub host_name: String,
    /// What is destroyed, disk by disk; empty when every disk is blank.
    pub destroys: Vec<Destroyed>,
    /// The disks the plan touches.
    pub disks: Vec<DiskTarget>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What happens after success.
    pub then: Then,
    /// What the installed machine exports over NFS; its host service does that, no step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    /// What is no reason to refuse, and what whoever agrees should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fingerprints of the document's sections, for the headers of the volumes.
    pub sections: BTreeMap<String, String>,
}

/// Content that the plan destroys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// Role of the disk.
    pub role: Role,
    /// by-id name.
    pub id: ByIdName,
    /// What stands there, one line each: `btrfs "photos" on partition 1, 500 GB`.
    pub content: Vec<String>,
}

/// A disk with the identity it must still have when it is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTarget {
    /// Role in `host.toml`.
    pub role: Role,
    /// by-id name.
    pub id: ByIdName,
    /// Serial found.
    pub serial: Option<String>,
    /// WWN found.
    pub wwn: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Sequence number of the disk within this boot: known where the plan was made and nowhere
    /// else, so it is no part of what is written down.
    #[serde(skip)]
    pub diskseq: Option<u64>,
    /// Whether an unfinished installation of this same plan may be finished here.
    pub resume: bool,
    /// Whether a volume that this same plan has sealed stands on it: then nothing on the disk is
    /// laid out or formatted anew.
    pub sealed: bool,
    /// Whether LUKS passes discards.
    pub discard: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Re-check the identity of every disk; nothing is written.
    CheckDisks {
        /// Roles to check.
        roles: Vec<Role>,
    },
    /// Make sure the key sticks carry the same keyfile, recovery passphrase and generated secrets.
    PrepareStick {
        /// In order; one with a by-id name is formatted when it is blank.
        sticks: Vec<Stick>,
        /// Path of the keyfile on the stick.
        keyfile: String,
        /// Where the recovery passphrase is kept.
        recovery: Recovery,
        /// Paths of further secrets to generate on the stick when absent.
        secrets: Vec<String>,
        /// Paths of secrets that somebody has typed where no stick has them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        typed: Vec<String>,
        /// Pools are kept: keyfile and recovery passphrase must be on a stick already, none
        /// is made, and no stick is formatted.
        existing: bool,
    },
    /// Open the volumes of a pool that is kept, by the keyfile, and check that they carry its
    /// file system. Comes before anything is destroyed; nothing is formatted.
    KeepPool {
        /// Name of the pool.
        name: PoolName,
        /// Its file system.
        #[serde(default, skip_serializing_if = "FileSystem::is_usual")]
        file_system: FileSystem,
        /// File system id that every opened member carries.
        fsid: Uuid,
        /// Its members, in order.
        members: Vec<KeptMember>,
    },
    /// Open the volume of the installed system by the keyfile. It must be sealed; nothing of it is
    /// formatted.
    OpenSystem {
        /// Role of the disk.
        role: Role,
        /// Partition number.
        partition: u32,
        /// UUID of the header.
        uuid: Uuid,
        /// Name under `/dev/mapper`.
        mapper: MapperName,
    },
    /// Find which system is installed: the newest of its profile is the one that boots again.
    FindSystem,
    /// Take the repository from where the document says, into memory. Comes before anything is
    /// written to a disk: one that cannot be reached, or is not the one that was pinned, stops
    /// the installation here.
    FetchRepository {
        /// The branch.
        branch: String,
        /// Where it is.
        from: RepositoryPlace,
    },
    /// Write the partition table of one disk.
    Partition {
        /// Role of the disk.
        role: Role,
        /// GUID of the disk label.
        guid: Uuid,
        /// Partitions in order, numbered from 1.
        partitions: Vec<Partition>,
    },
    /// Make the VFAT file system of the EFI system partition.
    FormatEsp {
        /// Role of the disk.
        role: Role,
        /// Partition number.
        partition: u32,
        /// Volume label, at most 11 characters.
        label: String,
        /// Volume id.
        volume_id: u32,
    },
    /// Make the LUKS2 header of one member, with both keyslots and the unsealed token, and open it.
    FormatLuks {
        /// Role of the disk.
        role: Role,
        /// Partition number.
        partition: u32,
        /// UUID of the header.
        uuid: Uuid,
        /// Label of the header.
        label: String,
        /// Name under `/dev/mapper`.
        mapper: MapperName,
    },
    /// Make a file system over opened members.
    #[serde(rename = "make_btrfs")]
    MakeFileSystem {
        /// `os` or the name of the pool.
        name: String,
        /// Which one.
        #[serde(default, skip_serializing_if = "FileSystem::is_usual")]
        file_system: FileSystem,
        /// Label of the file system, the same as `name`.
        label: String,
        /// File system id.
        fsid: Uuid,
        /// Whether everything is kept on two members (pools) or on the one there is (OS disk).
        raid1: bool,
        /// Names under `/dev/mapper`, in order.
        members: Vec<MapperName>,
        /// Subvolumes to create.
        subvolumes: Vec<Subvolume>,
    },
    /// Write the medium's file system image to the opened volume of the OS disk as it is, give it
    /// its own id, let it grow, and create the other subvolumes.
    WriteSystem {
        /// Which image of the medium.
        image: Holder,
        /// Label that the file system gets.
        label: String,
        /// File system id.
        fsid: Uuid,
        /// Name under `/dev/mapper`.
        member: MapperName,
        /// Subvolumes that it holds in the end.
        subvolumes: Vec<Subvolume>,
        /// How much is written, in bytes.
        bytes: u64,
    },
    /// Mount the target under `/mnt`.
    Mount {
        /// In order.
        mounts: Vec<Mount>,
    },
    /// Copy what the target's store lacks of the closure from the medium, and load its registration.
    CopyClosure,
    /// Write the host's directory into the flake and commit it.
    Enrol {
        /// Directory of the hosts inside the repository.
        hosts: String,
        /// Remote for `origin`, if any.
        remote: Option<String>,
        /// With what the commit is pushed there, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        push: Option<Push>,
    },
    /// Build the system from the flake with Nix and set the profile.
    BuildSystem {
        /// Flake attribute, for example `nixosConfigurations."hypervisor".config.system.build.toplevel`.
        attribute: String,
        /// Where what the target's store lacks comes from.
        #[serde(default, skip_serializing_if = "BuildInputs::is_medium")]
        inputs: BuildInputs,
    },
    /// Run the built system's activation for the first time.
    Activate,
    /// Test both keyslots of every member and back up its header to the stick.
    VerifyKeys {
        /// Roles of the disks whose members are tested.
        roles: Vec<Role>,
    },
    /// Mark every LUKS header as belonging to a finished installation.
    Seal {
        /// Roles of the disks whose headers are marked.
        roles: Vec<Role>,
    },
    /// Install the boot loader and write the boot entry; the rename of the entry on `esp` is the
    /// commit point.
    WriteBootEntry {
        /// The EFI system partition whose entry commits the installation.
        esp: BootPartition,
        /// Its copy on another disk: complete before the commit.
        mirror: Option<BootPartition>,
    },
    /// Unmount, close, flush.
    Finish,
}

/// Where the repository is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryPlace {
    /// A volume of this machine.
    Volume(FoundVolume),
    /// An ssh server, known by its host key.
    Ssh(SshSource),
    /// An https server, known by its public key.
    Https(HttpsSource),
}

/// The volume that has the label which the document names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundVolume {
    /// The label.
    pub label: String,
    /// by-id name of its disk.
    pub disk: String,
    /// Number of the partition; none for the whole disk.
    pub partition: Option<u32>,
    /// Type of file system, as libblkid names it.
    pub kind: String,
    /// Path of the repository on it; none for its root.
    pub path: Option<String>,
}

/// Where a build gets what the target's store lacks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildInputs {
    /// Everything came with the medium; the network is not touched.
    #[default]
    Medium,
    /// The flake's inputs and the cache of NixOS, over the network.
    Network,
}

impl BuildInputs {
    fn is_medium(&self) -> bool {
        *self == Self::Medium
    }
}

/// A member of a pool that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMember {
    /// Role of the disk.
    pub role: Role,
    /// Number of the partition that holds LUKS.
    pub partition: u32,
    /// UUID of its header.
    pub uuid: Uuid,
    /// Name under `/dev/mapper`.
    pub mapper: MapperName,
}

/// An EFI system partition that the machine boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPartition {
    /// Role of the disk.
    pub role: Role,
    /// Partition number.
    pub partition: u32,
    /// Its unique GUID.
    pub guid: Uuid,
    /// Where it is mounted, as the installed system sees it.
    pub mount: String,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Number, from 1.
    pub number: u32,
    /// GPT name.
    pub name: String,
    /// What it holds.
    pub kind: PartitionKind,
    /// Unique GUID.
    pub guid: Uuid,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionKind {
    /// EFI system partition.
    Esp,
    /// LUKS2 volume, with a member of a file system in it.
    Luks,
}

/// A btrfs subvolume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subvolume {
    /// Name at the top level.
    pub name: String,
    /// Where it is mounted on the running system.
    pub mount: String,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where, as the installed system will see it (`/`, `/home`, `/boot`, `/boot-mirror`, `/mnt/bulk`).
    pub target: String,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A subvolume of the OS file system.
    OsSubvolume {
        /// Name under `/dev/mapper`.
        mapper: MapperName,
        /// Subvolume name.
        name: String,
    },
    /// An EFI system partition.
    Esp {
        /// Role of the disk.
        role: Role,
        /// Partition number.
        partition: u32,
    },
    /// A pool.
    Pool {
        /// Its file system.
        #[serde(default, skip_serializing_if = "FileSystem::is_usual")]
        file_system: FileSystem,
        /// Names under `/dev/mapper` of its members.
        members: Vec<MapperName>,
    },
}
