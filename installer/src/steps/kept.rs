//! Pools that are kept: opened, looked at, never written to.

use std::path::{Path, PathBuf};

use bedplate_disks::pool_fs::PoolFileSystem;
use bedplate_events::{DeviceState, Outcome};
use bedplate_luks::KEYFILE_SLOT;
use bedplate_model::name::{MapperName, Role};
use bedplate_model::plan::{KeptMember, Step};
use bedplate_planner::pool_history::{Mark, TOKEN, uneven};
use bedplate_tools::mount::{Access, unmount};
use bedplate_tools::{block, udev};
use uuid::Uuid;

use super::file_systems::{TOP_LEVEL, is_member, open as mount};
use crate::context::Context;
use crate::device::{check, owner_name, partition_node};
use crate::error::{During as _, StepError};

/// What to do when a pool cannot be kept.
const NEXT: &str = "nothing was written; boot the installed system and repair the pool there \
    (`bedplate-host pool status`), or plug in the key stick that opens it";

/// A pool that is kept.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which file system it has.
    pub file_system: &'static dyn PoolFileSystem,
    /// By which that is known.
    pub id: Uuid,
}

/// Opens every member of a pool that is kept, and checks that together they are its file system.
pub fn open(
    context: &Context<'_>,
    pool: &Pool<'_>,
    members: &[KeptMember],
) -> Result<Outcome, StepError> {
    even(pool.name, members, context)?;
    for member in members {
        open_member(context, member, pool).map_err(|error| {
            let error = error.next(NEXT);
            match context.disk(&member.role) {
                Ok(target) => error.on(owner_name(target), DeviceState::Untouched),
                Err(_) => error,
            }
        })?;
    }
    level(pool, members)?;
    let what = || format!("the pool {} is not whole", pool.name);
    udev::settle().during("udev did not come to rest")?;
    let nodes: Vec<PathBuf> =
        members.iter().map(|member| Path::new("/dev/mapper").join(&member.mapper)).collect();
    let top = Path::new(TOP_LEVEL);
    mount(pool.file_system, &nodes, top, Access::ReadOnly)
        .and_then(|()| unmount(top).during("could not unmount the top level"))
        .during(what())
        .map_err(|error| error.next(NEXT))?;
    Ok(Outcome::Done)
}

/// What to do when a member does not have the newest history.
const BOOT_FIRST: &str = "nothing was written; boot the installed system with every disk plugged in and \
    wait until `bedplate-host pool status` says that the pool is whole, then install again";

/// A pool of which one is behind is not kept: mounted together they would mix two histories, and a new
/// system has no record of which is the newer. Their marks stand in their headers.
fn even(name: &str, members: &[KeptMember], context: &Context<'_>) -> Result<(), StepError> {
    let mut marks = Vec::new();
    for member in members {
        let disk = check(context.disk(&member.role)?)?;
        let device = partition_node(&disk, member.partition);
        let token =
            bedplate_luks::read_beside(&device, TOKEN).during("could not read the LUKS header")?;
        marks.push((member.role.clone(), token.as_ref().and_then(Mark::from_token)));
    }
    uneven(&marks).map_or(Ok(()), |behind| Err(behind_the_others(name, &behind)))
}

/// The same of one that dropped out unnoticed, or of before there were marks.
fn level(pool: &Pool<'_>, members: &[KeptMember]) -> Result<(), StepError> {
    let mut generations = Vec::new();
    for member in members {
        let node = Path::new("/dev/mapper").join(&member.mapper);
        let told = pool.file_system.told(&node).during("could not look into the volume")?;
        let generation = told.filter(|told| !told.hidden).map_or(0, |told| told.generation);
        generations.push((member.role.clone(), generation));
    }
    lagging(&generations).map_or(Ok(()), |behind| Err(behind_the_others(pool.name, &behind)))
}

fn behind_the_others(name: &str, behind: &str) -> StepError {
    let what = format!("in the pool {name}, {behind} was away while the others were written to");
    StepError::new(what).next(BOOT_FIRST)
}

/// Members are written one after the other: a power cut leaves one generation between them. A member that
/// lacks one transaction looks the same, and is written anew by the installed system: nothing is written here.
fn lagging(generations: &[(Role, u64)]) -> Option<String> {
    let newest = generations.iter().map(|(_, generation)| *generation).max()?;
    let behind = generations.iter().filter(|(_, own)| own.saturating_add(1) < newest);
    let behind: Vec<&str> = behind.map(|(role, _)| role.as_str()).collect();
    (!behind.is_empty()).then(|| behind.join(", "))
}

fn open_member(
    context: &Context<'_>,
    member: &KeptMember,
    pool: &Pool<'_>,
) -> Result<(), StepError> {
    let name = check(context.disk(&member.role)?)?;
    let device = partition_node(&name, member.partition);
    // From here on the kernel itself refuses to write there.
    block::set_read_only(&device, true).during("could not protect the volume from writes")?;
    is_finished(&device, member.uuid)?;
    let keyfile = context.keys()?.keyfile.expose();
    bedplate_luks::open_read_only(&device, &member.mapper, Some(KEYFILE_SLOT), keyfile)
        .during("the keyfile on the key stick does not open the volume")?;
    let node = Path::new("/dev/mapper").join(&member.mapper);
    let found = is_member(pool.file_system, &node, pool.id);
    if found.during("could not look into the opened volume")? {
        Ok(())
    } else {
        Err(StepError::new("the volume does not carry the file system of its pool"))
    }
}

/// Opens the finished volume of the OS disk, to be written to by the installed system alone.
pub fn open_system(
    context: &Context<'_>,
    role: &str,
    partition: u32,
    uuid: Uuid,
    mapper: &str,
) -> Result<Outcome, StepError> {
    const NEXT: &str = "nothing of the volume was written; plug in the key stick that opens it, and \
        start again";
    let target = context.disk(role)?;
    let device = partition_node(&check(target)?, partition);
    let open = || {
        is_finished(&device, uuid)?;
        let keyfile = context.keys()?.keyfile.expose();
        bedplate_luks::open(&device, mapper, Some(KEYFILE_SLOT), keyfile, target.discard)
            .during("the keyfile on the key stick does not open the volume")
    };
    open().map_err(|error| error.next(NEXT).on(owner_name(target), DeviceState::Untouched))?;
    udev::settle().during("udev did not come to rest")?;
    Ok(Outcome::Done)
}

/// Whether the finished volume of this UUID stands there.
fn is_finished(device: &Path, uuid: Uuid) -> Result<(), StepError> {
    let found = bedplate_luks::read_token(device).during("could not read the LUKS header")?;
    match found {
        Some((found, token)) if found == uuid && token.sealed => Ok(()),
        Some((found, _)) if found == uuid => {
            Err(StepError::new("the volume belongs to no finished installation"))
        }
        _ => Err(StepError::new("another volume stands there than was planned")),
    }
}

/// Whether the plan keeps the pool over these mappings.
pub fn is_kept(context: &Context<'_>, mappers: &[MapperName]) -> bool {
    context.plan.steps.iter().any(|step| match step {
        Step::KeepPool { members, .. } => {
            members.iter().any(|member| mappers.contains(&member.mapper))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::lagging;

    #[test]
    fn t44_a_member_that_missed_writes_is_not_kept_as_it_is() {
        let of = |all: &[(&str, u64)]| {
            let all: Vec<_> = all.iter().map(|(role, own)| (role.parse().unwrap(), *own)).collect();
            lagging(&all)
        };
        assert_eq!(of(&[("a", 90), ("b", 89)]), None);
        assert_eq!(of(&[("a", 90), ("b", 40), ("c", 0)]), Some("b, c".to_owned()));
        assert_eq!(of(&[]), None);
    }
}
