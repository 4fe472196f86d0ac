//! Which device is which member: known by the UUID of its LUKS header.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bedplate_model::host::{HostFile, Media, Pool};
use bedplate_model::identity::{Purpose, epoch_of, is_member_mapper, member_mapper};
use bedplate_model::name::{MapperName, Role};
use bedplate_tools::block::Block;
use bedplate_tools::signature::Signature;

use super::error::PoolError;
use super::record::Record;

/// A LUKS header that stands on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its UUID.
    pub uuid: String,
    /// The device.
    pub node: PathBuf,
}

/// A device that carries a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its role.
    pub role: Role,
    /// How often the role's disk was replaced.
    pub epoch: u32,
    /// UUID of its LUKS header.
    pub luks_uuid: String,
    /// The device.
    pub node: PathBuf,
    /// Name under `/dev/mapper`.
    pub mapper: MapperName,
    /// Whether discards pass through.
    pub discard: bool,
}

/// The members among the devices that are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// By role.
    pub found: BTreeMap<Role, Member>,
    /// Disks that were replaced or taken out, and came back.
    pub former: Vec<Member>,
}

/// The LUKS headers among `blocks`.
pub fn headers(blocks: &[Block]) -> Vec<Header> {
    let header = |block: &Block| match block.signature() {
        Some(Signature::Luks2 { uuid }) => Some(Header { uuid, node: block.node.clone() }),
        _ => None,
    };
    blocks.iter().filter_map(header).collect()
}

impl Members {
    /// Finds the members of `pool`. Where the record knows the epoch of a role, only that one is
    /// a member; otherwise the latest. A header on two devices is refused: neither can be trusted.
    pub fn find(
        host: &HostFile,
        pool: &Pool,
        record: &Record,
        headers: &[Header],
    ) -> Result<Self, PoolError> {
        let mut members = Self::default();
        for role in &pool.disks {
            let mut all: Vec<Member> =
                headers.iter().filter_map(|header| member(host, role, header)).collect();
            all.sort_by_key(|member| member.epoch);
            let current = match record.epochs.get(role) {
                Some(epoch) => Some(*epoch),
                None => all.last().map(|member| member.epoch),
            };
            let (mut ours, former): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|member| Some(member.epoch) == current);
            members.former.extend(former);
            if ours.len() > 1 {
                return Err(cloned(role, &ours));
            }
            members.found.extend(ours.pop().map(|member| (role.clone(), member)));
        }
        Ok(members)
    }
}

fn member(host: &HostFile, role: &Role, header: &Header) -> Option<Member> {
    let epoch = epoch_of(host.host.id, Purpose::Luks, role, &header.uuid)?;
    Some(Member {
        role: role.to_owned(),
        epoch,
        luks_uuid: header.uuid.clone(),
        node: header.node.clone(),
        mapper: member_mapper(role, epoch),
        discard: host.disks.get(role).is_some_and(|disk| disk.media == Media::Ssd),
    })
}

fn cloned(role: &Role, members: &[Member]) -> PoolError {
    let name = |member: &Member| member.node.display().to_string();
    let names: Vec<_> = members.iter().map(name).collect();
    PoolError::Cloned { role: role.to_owned(), devices: names.join(" and ") }
}

/// The role whose mapping, of any epoch, is called `mapper`.
pub fn role_of<'p>(pool: &'p Pool, mapper: &str) -> Option<&'p Role> {
    pool.disks.iter().find(|role| is_member_mapper(role, mapper))
}

/// The node of a mapping.
pub fn mapped(mapper: &str) -> PathBuf {
    Path::new("/dev/mapper").join(mapper)
}
