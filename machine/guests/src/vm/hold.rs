//! Virtual machines whose disks are in a snapshot: held while it is taken.
//!
//! The guest's agent flushes and holds the guest's file systems. A guest without one is paused:
//! what it has written is flushed, and a restored disk is as after a power cut. Every call of libvirt has its
//! limit. A guest whose agent does not answer in time is paused in its place, and because the agent may hear of
//! the freeze later, it counts as held until the agent has said that it is not.

mod note;
mod release;

use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use self::note::{How, Note};
use super::inspect;
use crate::hold::HoldError;

pub(super) use release::let_go;

/// libvirt could not be asked or told.
fn untold(source: CommandError) -> HoldError {
    HoldError::driver("libvirt could not be asked or told", source)
}

/// Those of `names` that run and carry our tag. Without names libvirt is not asked: a backup of plain
/// files does not need it.
pub(super) fn running(virsh: &Virsh, names: Vec<String>) -> Result<Vec<String>, HoldError> {
    if names.is_empty() {
        return Ok(names);
    }
    // One that somebody paused is not ours to wake.
    let paused = virsh.paused().map_err(untold)?;
    let all = bedplate_libvirt::domains(virsh.uri());
    let all = all.map_err(|error| HoldError::driver("libvirt could not be looked at", error))?;
    let mut ours = Vec::new();
    for one in all {
        if names.contains(&one.name)
            && !paused.contains(&one.name)
            && let Some(xml) = one.live
        {
            let tag = inspect::intent(&xml);
            let tag = tag.map_err(|why| HoldError::driver("a domain could not be understood", why));
            if tag?.is_some() {
                ours.push(one.name);
            }
        }
    }
    Ok(ours)
}

/// What a person can do about a machine that cannot be let go.
pub(super) fn free_by_hand(name: &str) -> String {
    format!(
        "see that its agent answers (`virsh domfsthaw {name}`), or start it anew: \
         `bedplate-host vm restart {name} --force`"
    )
}

/// Holds one machine.
pub(super) fn hold(virsh: &Virsh, name: &str, note: &Path) -> Result<(), HoldError> {
    let id = virsh.id(name).map_err(untold)?;
    Note { how: How::Frozen, id }.write(note)?;
    let Err(why) = virsh.freeze(name) else { return Ok(()) };
    // Before anything else: whatever happens now, somebody lets it go.
    let is_late = is_late(&why);
    let how = if is_late { How::Late } else { How::Paused };
    Note { how, id }.write(note)?;
    // Some of it may be held all the same. One that did not answer is asked when it runs again: others
    // stand still meanwhile.
    if !is_late {
        let _ = virsh.thaw(name);
    }
    pause(virsh, name, note, id)
}

/// Pauses a machine. One that libvirt has not paused in time may be paused later, when nobody thinks of
/// it any more.
fn pause(virsh: &Virsh, name: &str, note: &Path, id: Option<u32>) -> Result<(), HoldError> {
    let Err(why) = virsh.suspend(name) else { return Ok(()) };
    if why.is_too_long() {
        Note { how: How::Pausing, id }.write(note)?;
    }
    Err(untold(why))
}

/// Whether an agent that was asked may still hear it: one that is there and has not answered. A guest
/// without one says so at once.
pub(super) fn is_late(why: &CommandError) -> bool {
    // `VIR_ERR_AGENT_UNRESPONSIVE` ("Guest agent is not responding") and `VIR_ERR_AGENT_COMMAND_TIMEOUT`
    // of libvirt's `virerror.c`; a guest whose agent is not running has the first with this reason.
    let text = why.to_string();
    let is_absent = text.contains("not connected") || text.contains("not configured");
    why.is_too_long() || !is_absent && text.to_lowercase().contains("guest agent")
}

#[cfg(test)]
mod tests;
