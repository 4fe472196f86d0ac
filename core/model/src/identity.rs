//! Identities derived from `host.id`: UUIDv5 (RFC 9562, section 5.5) of host, role and epoch.
//!
//! `pool replace` raises the epoch of a role, so that a replaced disk never carries the
//! identity of the one it replaced.

use uuid::Uuid;

use crate::name::{Mac, MapperName, Role};

/// Ids with this prefix mark a profile's example; `iso` and `personalize` replace them.
pub const EXAMPLE_ID_PREFIX: &str = "00000000-0000-4000-8000-";

/// What an identity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// GUID of a GPT disk label.
    GptDisk,
    /// GUID of the EFI system partition.
    GptEsp,
    /// GUID of the partition that holds LUKS.
    GptLuks,
    /// UUID of the LUKS2 header.
    Luks,
    /// Id of the file system of a pool, or of the OS disk.
    FileSystem,
    /// UUID of a libvirt domain.
    Domain,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::GptDisk => "gpt-disk",
            Self::GptEsp => "gpt-esp",
            Self::GptLuks => "gpt-luks",
            Self::Luks => "luks",
            // Of when there was no other: ids stay as they were derived.
            Self::FileSystem => "btrfs",
            Self::Domain => "domain",
        }
    }
}

/// The UUID of `purpose` for `name` (a disk role, a pool, `os`, or a VM) at `epoch`.
pub fn derive(host: Uuid, purpose: Purpose, name: &str, epoch: u32) -> Uuid {
    Uuid::new_v5(&host, format!("{}/{name}/{epoch}", purpose.word()).as_bytes())
}

/// The volume id of the VFAT file system on an EFI system partition: what fits of the partition's
/// GUID.
pub fn esp_volume_id(partition: Uuid) -> u32 {
    partition.as_fields().0
}

/// A volume id as VFAT shows it: `1A2B-3C4D`.
pub fn shown_volume_id(volume_id: u32) -> String {
    format!("{:04X}-{:04X}", volume_id >> 16, volume_id & 0xffff)
}

/// How often one disk of a host is replaced at most.
const EPOCHS: u32 = 1000;

/// The epoch at which `uuid` is the identity of `purpose` for `name`; none when it never is.
pub fn epoch_of(host: Uuid, purpose: Purpose, name: &str, uuid: &str) -> Option<u32> {
    let uuid = Uuid::try_parse(uuid).ok()?;
    (0..EPOCHS).find(|epoch| derive(host, purpose, name, *epoch) == uuid)
}

/// The name under `/dev/mapper` of the opened LUKS volume of a role.
pub fn mapper_name(role: &Role) -> MapperName {
    member_mapper(role, 0)
}

/// The name under `/dev/mapper` of the opened LUKS volume of a role whose disk was replaced
/// `epoch` times: the old disk and the new one can be open at once.
pub fn member_mapper(role: &Role, epoch: u32) -> MapperName {
    MapperName::of(role, epoch)
}

/// Whether a name under `/dev/mapper` is that of a member of `role`, of any epoch.
pub fn is_member_mapper(role: &Role, mapper: &str) -> bool {
    let base = mapper_name(role);
    let epoch = mapper.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('.'));
    base == mapper || epoch.is_some_and(|epoch| epoch.parse::<u32>().is_ok())
}

/// A locally administered MAC address in QEMU's range for a VM without one of its own.
pub fn mac_address(host: Uuid, vm: &str) -> Mac {
    let digest = Uuid::new_v5(&host, format!("mac/{vm}").as_bytes());
    let [a, b, c, ..] = *digest.as_bytes();
    Mac::of([0x52, 0x54, 0x00, a, b, c])
}

/// The same for a NIC behind the first, by its place among those, from 0. No name of a VM has a `/`.
pub fn mac_address_of(host: Uuid, vm: &str, nic: usize) -> Mac {
    mac_address(host, &format!("{vm}/{nic}"))
}

/// Whether `id` marks a profile's example.
pub fn is_example(id: Uuid) -> bool {
    id.to_string().starts_with(EXAMPLE_ID_PREFIX)
}
