//! What is done to a pool, step by step.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use bedplate_model::name::MapperName;
use bedplate_model::plan::Partition;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum MemberStep {
    /// Write the partition table.
    Partition {
        /// GUID of the disk label.
        guid: Uuid,
        /// The partitions.
        partitions: Vec<Partition>,
    },
    /// Make the file system of the copy of the ESP.
    FormatEsp {
        /// Partition number.
        partition: u32,
        /// VFAT volume id.
        volume_id: u32,
    },
    /// Mount the copy of the ESP on the role's disk, and bring it into step.
    MirrorEsp {
        /// GUID of its partition.
        guid: Uuid,
    },
    /// Make the LUKS2 header with both keyslots, test them, and open it.
    FormatLuks {
        /// Partition number.
        partition: u32,
        /// UUID of the header.
        uuid: Uuid,
        /// Label of the header.
        label: String,
        /// Name under `/dev/mapper`.
        mapper: MapperName,
    },
    /// Keep durably that disks of this epoch, and no others, are members.
    Record {
        /// The epoch.
        epoch: u32,
    },
    /// Add the opened volume to the file system.
    Join {
        /// Name under `/dev/mapper`.
        mapper: MapperName,
    },
    /// Copy everything off a device, or from the other copies, and take it out.
    Leave {
        /// The member that is taken out, whether it is there or not.
        device: Leaving,
    },
    /// Bring every chunk to two copies.
    Convert,
    /// Save the header on the key stick.
    SaveHeader {
        /// UUID of the header.
        uuid: Uuid,
    },
    /// Mark the header as belonging to a finished pool.
    Seal {
        /// UUID of the header.
        uuid: Uuid,
    },
}

/// A device that leaves a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// One that is not there, by its number in the file system: `missing` would name any.
    Missing(u64),
    /// The opened volume of this name.
    Mapper(MapperName),
}
