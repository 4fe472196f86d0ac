//! What a change of a pool is planned from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bedplate_disks::pool_fs::{self, Live};
use bedplate_facts::disks;
use bedplate_facts::probe::by_wipefs;
use bedplate_facts::roots::Roots;
use bedplate_luks as luks;
use bedplate_model::facts::{Facts, FirmwareKind};
use bedplate_model::host::{HostFile, Pool};
use bedplate_model::identity::{Purpose, derive, epoch_of, member_mapper};
use bedplate_model::name::Role;
use bedplate_planner::{Owner, PoolFacts, SCHEMA};
use bedplate_tools::block;

use super::change::{ChangeError, command};
use super::error::{PoolError, file};
use super::member::{Header, Member, Members, headers};
use super::record::Record;
use super::status::is_mounted;
use super::tend::{dropped, is_left_over};

/// Every disk of the machine as it is now, with what stands on it.
pub fn machine() -> Facts {
    Facts {
        schema: SCHEMA,
        disks: disks::read_all(&Roots::looking(by_wipefs)),
        firmware: FirmwareKind::Uefi,
        firmware_bits: None,
        memory_bytes: 0,
        nics: Vec::new(),
        boot_medium: None,
        platform: None,
        microcode: None,
        closure_bytes: None,
        built_bytes: None,
        system_image: None,
        built_image: None,
    }
}

/// What is known of the pool that `role` belongs to; nothing when it belongs to none.
pub fn pool(host: &HostFile, role: &Role) -> Result<PoolFacts, ChangeError> {
    let Some((name, pool)) =
        host.pools.iter().find(|(_, pool)| pool.disks.iter().any(|r| r == role))
    else {
        return Ok(PoolFacts::default());
    };
    let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
    let headers = headers(&blocks);
    let record = Record::read(name)?;
    let members = Members::find(host, pool, &record, &headers)?;
    let epoch = members.found.get(role).map(|member| member.epoch);
    let epoch = record.epochs.get(role).copied().or(epoch).unwrap_or(0);
    let file_system = pool_fs::of(pool.file_system());
    let live = live(host, name, pool)?;
    let dropped = live.iter().flat_map(|live| {
        let left = members.found.values().filter(|member| is_left_over(&record, live, member));
        let left = left.map(|member| member.role.clone());
        left.chain(dropped(&record, host, pool, live, &headers)).collect::<Vec<_>>()
    });
    let dropped = dropped.collect();
    let missing = match &live {
        Some(live) if live.missing > 0 => file_system
            .missing(Path::new(&pool.mount))
            .map_err(command("it could not be seen which devices the pool lacks"))?,
        _ => Vec::new(),
    };
    let missing = owners(host, pool, &record, &missing);
    let sealed_at = |epoch| sealed(host, role, epoch, &headers);
    // An unfinished run gave the role its epoch already.
    let unfinished = record.epochs.contains_key(role) && sealed_at(epoch)? == Some(false);
    let next_epoch = if unfinished { epoch } else { epoch + 1 };
    Ok(PoolFacts {
        mounted: live.is_some(),
        mixed: live.as_ref().is_some_and(|live| !live.single.is_empty()),
        missing,
        dropped,
        devices: live.map(|live| live.devices).unwrap_or_default(),
        epoch,
        next_epoch,
        sealed: sealed_at(next_epoch)? == Some(true),
        current: current(host, &headers)?,
    })
}

/// What is known of the members of a pool; none when it is not mounted.
pub(super) fn live(host: &HostFile, name: &str, pool: &Pool) -> Result<Option<Live>, PoolError> {
    if !is_mounted(pool)? {
        return Ok(None);
    }
    Ok(pool_fs::of(pool.file_system()).live(super::id(host, name))?)
}

/// Whose the devices of these numbers were, as far as the record says.
pub(super) fn owners(
    host: &HostFile,
    pool: &Pool,
    record: &Record,
    numbers: &[u64],
) -> BTreeMap<u64, Owner> {
    let owner = |number: &u64| {
        let mut known = record.numbers.iter();
        let Some((uuid, _)) = known.find(|(_, known)| *known == number) else {
            return Owner::Unknown;
        };
        let is_of = |role: &&Role| epoch_of(host.host.id, Purpose::Luks, role, uuid).is_some();
        pool.disks.iter().find(is_of).cloned().map_or(Owner::Former, Owner::Role)
    };
    numbers.iter().map(|number| (*number, owner(number))).collect()
}

/// The number of the device behind this mapping of a role: as it says itself, or as the record says of one
/// that says nothing any more.
pub(super) fn number(
    host: &HostFile,
    record: &Record,
    live: &Live,
    role: &Role,
    mapper: &str,
) -> Option<u64> {
    let is_it = |uuid: &str| {
        let epoch = epoch_of(host.host.id, Purpose::Luks, role, uuid);
        epoch.is_some_and(|epoch| member_mapper(role, epoch) == mapper)
    };
    let kept = || record.numbers.iter().find(|(uuid, _)| is_it(uuid)).map(|(_, number)| *number);
    let of_another = |number: &u64| live.numbers.values().any(|other| other == number);
    live.numbers.get(mapper).copied().or_else(|| kept().filter(|number| !of_another(number)))
}

/// Whether the volume of a role at an epoch is sealed; none when it is not there.
fn sealed(
    host: &HostFile,
    role: &Role,
    epoch: u32,
    headers: &[Header],
) -> Result<Option<bool>, ChangeError> {
    let wanted = derive(host.host.id, Purpose::Luks, role, epoch).to_string();
    let Some(header) = headers.iter().find(|header| header.uuid == wanted) else {
        return Ok(None);
    };
    // A header without our token is one that was cut off while it was made; one that cannot be read
    // is not known to be.
    let token = luks::read_token(&header.node).map_err(PoolError::Luks)?;
    Ok(Some(token.is_some_and(|(_, token)| token.sealed)))
}

/// The headers that this machine uses or could use.
fn current(host: &HostFile, headers: &[Header]) -> Result<BTreeSet<String>, ChangeError> {
    let mut all = BTreeSet::new();
    all.insert(derive(host.host.id, Purpose::Luks, &host.os.disk, 0).to_string());
    for (name, pool) in &host.pools {
        let members = Members::find(host, pool, &Record::read(name)?, headers)?;
        all.extend(members.found.into_values().map(|member| member.luks_uuid));
    }
    Ok(all)
}

/// Role and device of a member that is in the pool, other than `role`.
pub fn model(host: &HostFile, name: &str, role: &Role) -> Result<(Role, PathBuf), ChangeError> {
    let unknown = || PoolError::Unknown { name: name.to_owned() };
    let pool = host.pools.get(name).ok_or_else(unknown)?;
    let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
    let members = Members::find(host, pool, &Record::read(name)?, &headers(&blocks))?;
    let open = |member: &&Member| member.role != *role && luks::is_open(&member.mapper);
    let model = members.found.values().find(open).ok_or_else(unknown)?;
    Ok((model.role.clone(), model.node.clone()))
}
