//! Letting machines go.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use super::QuiesceError;
use super::note::{How, Note};
use bedplate_engine::parallel::at_once;

/// Lets the machines go, all at the same time: one that does not answer keeps none of the others standing.
pub(super) fn let_all_go(
    virsh: &Virsh,
    notes: &Path,
    names: &[String],
) -> Vec<Result<(), QuiesceError>> {
    at_once(names, |name| let_go(virsh, notes, name))
}

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

fn let_go(virsh: &Virsh, notes: &Path, name: &str) -> Result<(), QuiesceError> {
    let path = notes.join(name);
    let failed = |source| QuiesceError::File { path: path.clone(), source };
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => Note::parse(&note.map_err(failed)?),
    };
    let is_in = |names: Vec<String>| names.iter().any(|one| one == name);
    let is_paused = is_in(virsh.paused()?);
    let now = if is_paused || is_in(virsh.running()?) { virsh.id(name)? } else { None };
    let step = step(note, now);
    match step {
        Step::Forget => {}
        Step::Thaw => {
            let thawed = virsh.thaw(name);
            thawed.or_else(|why| if was_never_frozen(&why) { Ok(()) } else { Err(why) })?;
        }
        Step::ResumeLate => {
            let resumed = virsh.resume(name);
            resumed.or_else(|why| if is_running(&why) { Ok(()) } else { Err(why) })?;
            // As below.
            let _ = virsh.thaw(name);
        }
        Step::Resume | Step::ResumeAndThaw => {
            // Suspending may have failed before anything was paused.
            if is_paused {
                virsh.resume(name)?;
            }
            // Its agent may have been told to freeze and hears of it only now. Most have none.
            let thawed = virsh.thaw(name);
            if step == Step::ResumeAndThaw
                && let Err(source) = thawed
            {
                return Err(QuiesceError::Late { name: name.to_owned(), source });
            }
        }
    }
    fs::remove_file(&path).map_err(failed)
}
