//! Pools that are kept, and finished pools that lack a member.

use uuid::Uuid;

use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{HostFile, Pool, Wipe};
use bedplate_model::identity::{Purpose, derive, epoch_of, mapper_name};
use bedplate_model::name::{PoolName, Role};
use bedplate_model::plan::{KeptMember, Step};

use super::choose::Choice;

/// Whether a pool is kept: validation lets no pool be kept in part.
pub(super) fn is_kept(host: &HostFile, pool: &Pool) -> bool {
    pool.disks.iter().any(|role| host.disks.get(role).is_some_and(|disk| disk.wipe == Wipe::Never))
}

/// Partition and UUID of the finished volume of `role` of this host, when the disk carries it.
/// `pool replace` raises the epoch of a role: any of them is ours.
pub(super) fn volume(host: &HostFile, role: &Role, disk: &DiskFacts) -> Option<(u32, Uuid)> {
    let found = disk.bedplate.as_ref().filter(|found| found.sealed)?;
    epoch_of(host.host.id, Purpose::Luks, role, &found.luks_uuid)?;
    let on_partition = disk.signatures.iter().find_map(|signature| {
        let same = signature.uuid.as_ref() == Some(&found.luks_uuid);
        (signature.kind == "crypto_LUKS" && same).then_some(signature.partition)?
    });
    Some((on_partition?, found.luks_uuid.parse().ok()?))
}

/// The name of the finished pool that `role` belongs to: another member carries its sealed
/// volume, and the document does not give it up.
pub(super) fn finished_pool<'h>(
    host: &'h HostFile,
    facts: &Facts,
    role: &Role,
) -> Option<&'h PoolName> {
    let (name, pool) = host.pools.iter().find(|(_, pool)| pool.disks.iter().any(|m| m == role))?;
    let is_sealed = |disk: &&DiskFacts| disk.bedplate.as_ref().is_some_and(|found| found.sealed);
    let sealed: Vec<&DiskFacts> = facts.disks.iter().filter(is_sealed).collect();
    if sealed.is_empty() {
        return None;
    }
    let stands = |other: &&Role| {
        let Some(disk) = host.disks.get(*other).filter(|disk| disk.wipe != Wipe::Any) else {
            return false;
        };
        let mut named = sealed.iter().filter(|facts| facts.has_id(&disk.id));
        named.any(|facts| volume(host, other, facts).is_some())
    };
    pool.disks.iter().filter(|other| *other != role).any(|other| stands(&other)).then_some(name)
}

/// One step for each pool that is kept.
pub(super) fn pools(host: &HostFile, chosen: &[Choice<'_>]) -> Vec<Step> {
    let kept = host.pools.iter().filter(|(_, pool)| is_kept(host, pool));
    kept.map(|(name, pool)| Step::KeepPool {
        name: name.clone(),
        file_system: pool.file_system(),
        fsid: derive(host.host.id, Purpose::FileSystem, name, 0),
        members: pool
            .disks
            .iter()
            .filter_map(|role| member(host, chosen.iter().find(|choice| choice.role == role)?))
            .collect(),
    })
    .collect()
}

fn member(host: &HostFile, choice: &Choice<'_>) -> Option<KeptMember> {
    let (partition, uuid) = volume(host, choice.role, choice.facts)?;
    let role = choice.role.to_owned();
    Some(KeptMember { mapper: mapper_name(&role), role, partition, uuid })
}
