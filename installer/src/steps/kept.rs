//! Pools that are kept: opened, looked at, never written to.

use std::path::{Path, PathBuf};

use bedplate_luks::KEYFILE_SLOT;
use bedplate_spec::event::{DeviceState, Outcome};
use bedplate_spec::plan::{KeptMember, Step};
use bedplate_tools::mount::unmount;
use bedplate_tools::{block, btrfs, udev};
use uuid::Uuid;

use super::btrfs::{TOP_LEVEL, mount_kept};
use crate::context::Context;
use crate::device::{check, owner_name, partition_node};
use crate::error::{During as _, StepError};

/// What to do when a pool cannot be kept.
const NEXT: &str = "nothing was written; boot the installed system and repair the pool there \
    (`bedplate-host pool status`), or plug in the key stick that opens it";

/// Opens every member of a pool that is kept, and checks that together they are its file system.
pub fn open(
    context: &Context<'_>,
    name: &str,
    fsid: Uuid,
    members: &[KeptMember],
) -> Result<Outcome, StepError> {
    for member in members {
        open_member(context, member, fsid).map_err(|error| {
            let error = error.next(NEXT);
            match context.disk(&member.role) {
                Ok(target) => error.on(owner_name(target), DeviceState::Untouched),
                Err(_) => error,
            }
        })?;
    }
    let what = || format!("the pool {name} is not whole");
    udev::settle().during("udev did not come to rest")?;
    let nodes: Vec<PathBuf> =
        members.iter().map(|member| Path::new("/dev/mapper").join(&member.mapper)).collect();
    btrfs::scan(&nodes).during("could not scan for btrfs members")?;
    // Without `degraded` the kernel refuses a file system that lacks a member.
    let top = Path::new(TOP_LEVEL);
    mount_kept(&nodes, top)
        .and_then(|()| unmount(top).during("could not unmount the top level"))
        .during(what())
        .map_err(|error| error.next(NEXT))?;
    Ok(Outcome::Done)
}

fn open_member(context: &Context<'_>, member: &KeptMember, fsid: Uuid) -> Result<(), StepError> {
    let name = check(context.disk(&member.role)?)?;
    let device = partition_node(&name, member.partition);
    // From here on the kernel itself refuses to write there.
    block::set_read_only(&device, true).during("could not protect the volume from writes")?;
    is_finished(&device, member.uuid)?;
    let keyfile = context.keys()?.keyfile.expose();
    bedplate_luks::open_read_only(&device, &member.mapper, Some(KEYFILE_SLOT), keyfile)
        .during("the keyfile on the key stick does not open the volume")?;
    let node = Path::new("/dev/mapper").join(&member.mapper);
    let inside = bedplate_blkid::probe(&node).during("could not look into the opened volume")?;
    let wanted = fsid.to_string();
    if inside.iter().any(|one| one.kind == "btrfs" && one.uuid.as_ref() == Some(&wanted)) {
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
pub fn is_kept(context: &Context<'_>, mappers: &[String]) -> bool {
    context.plan.steps.iter().any(|step| match step {
        Step::KeepPool { members, .. } => {
            members.iter().any(|member| mappers.contains(&member.mapper))
        }
        _ => false,
    })
}
