//! Letting machines go.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use super::note::{How, Note};
use super::untold;
use crate::hold::{self, HoldError};

/// What it takes to let a machine go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing but removing the note: it is off, or was started anew since.
    Forget,
    /// Its agent.
    Thaw,
    /// libvirt, which lets it run on where it is paused.
    Resume,
    /// libvirt, and then its agent, which must answer.
    ResumeAndThaw,
    /// libvirt, whether or not it is paused now: it does one thing after the other.
    ResumeLate,
}

/// Decides by its note and its number now, none when it does not run: a machine that has gone, or
/// was started anew, is held no longer.
pub(super) fn step(note: Note, now: Option<u32>) -> Step {
    match (now, note.id) {
        (None, _) => Step::Forget,
        (Some(now), Some(then)) if now != then => Step::Forget,
        _ => match note.how {
            How::Frozen => Step::Thaw,
            How::Paused => Step::Resume,
            How::Late => Step::ResumeAndThaw,
            How::Pausing => Step::ResumeLate,
        },
    }
}

/// What libvirt says of a machine that has no channel for an agent (`qemuDomainAgentAvailable`).
fn was_never_frozen(why: &CommandError) -> bool {
    why.to_string().contains("agent is not configured")
}

/// What libvirt says of a machine that is to be resumed and runs (`qemuDomainResume`).
fn is_running(why: &CommandError) -> bool {
    why.to_string().contains("already running")
}

/// Lets a machine go that is held as `path` says, and removes that note.
pub(in crate::vm) fn let_go(virsh: &Virsh, name: &str, path: &Path) -> Result<(), HoldError> {
    let failed = |source| HoldError::File { path: path.to_owned(), source };
    let note = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => Note::parse(&note.map_err(failed)?),
    };
    let is_in = |names: Vec<String>| names.iter().any(|one| one == name);
    let is_paused = is_in(virsh.paused().map_err(untold)?);
    let now = if is_paused || is_in(virsh.running().map_err(untold)?) {
        virsh.id(name).map_err(untold)?
    } else {
        None
    };
    let step = step(note, now);
    match step {
        Step::Forget => {}
        Step::Thaw => {
            let thawed = virsh.thaw(name);
            thawed.or_else(|why| if was_never_frozen(&why) { Ok(()) } else { Err(untold(why)) })?;
        }
        Step::ResumeLate => {
            let resumed = virsh.resume(name);
            resumed.or_else(|why| if is_running(&why) { Ok(()) } else { Err(untold(why)) })?;
            // As below.
            let _ = virsh.thaw(name);
        }
        Step::Resume | Step::ResumeAndThaw => {
            // Suspending may have failed before anything was paused.
            if is_paused {
                virsh.resume(name).map_err(untold)?;
            }
            // Its agent may have been told to freeze and hears of it only now. Most have none.
            let thawed = virsh.thaw(name);
            if step == Step::ResumeAndThaw
                && let Err(source) = thawed
            {
                let advice =
                    format!(", and `virsh domfsthaw {name}` lets it go should it stand still");
                let (name, source) = (name.to_owned(), source.into());
                return Err(HoldError::Late { name, advice, source });
            }
        }
    }
    hold::forget(path)
}
