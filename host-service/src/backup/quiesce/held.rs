//! Holding machines, all at once: an agent that does not answer is waited for once, however many there are.

use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use super::note::{How, Note};
use super::release::let_all_go;
use super::{DIRECTORY, QuiesceError};
use bedplate_engine::parallel::at_once;

/// Machines that are held until [`Held::release`], or until it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    virsh: &'a Virsh,
    notes: PathBuf,
    names: Vec<String>,
}

impl<'a> Held<'a> {
    /// Holds the machines, all at the same time. When one cannot be held none is.
    pub fn hold(virsh: &'a Virsh, runtime: &Path, names: &[String]) -> Result<Self, QuiesceError> {
        // Those too of which nothing is noted yet: there is nothing to let go then.
        let held = Self { virsh, notes: runtime.join(DIRECTORY), names: names.to_vec() };
        at_once(names, |name| hold(virsh, &held.notes, name))
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(held)
    }

    /// Lets all go; the first failure is told after all were tried.
    pub fn release(mut self) -> Result<(), QuiesceError> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<(), QuiesceError> {
        let names = std::mem::take(&mut self.names);
        let_all_go(self.virsh, &self.notes, &names).into_iter().collect()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What fails here stays noted, and is tried again by `recover`.
        let _ = self.let_go();
    }
}

/// Holds one machine.
fn hold(virsh: &Virsh, notes: &Path, name: &str) -> Result<(), QuiesceError> {
    let note = notes.join(name);
    let id = virsh.id(name)?;
    Note { how: How::Frozen, id }.write(&note)?;
    let Err(why) = virsh.freeze(name) else { return Ok(()) };
    // Before anything else: whatever happens now, somebody lets it go.
    let is_late = is_late(&why);
    let how = if is_late { How::Late } else { How::Paused };
    Note { how, id }.write(&note)?;
    // Some of it may be held all the same. One that did not answer is asked when it runs again: others
    // stand still meanwhile.
    if !is_late {
        let _ = virsh.thaw(name);
    }
    pause(virsh, name, &note, id)
}

/// Pauses a machine. One that libvirt has not paused in time may be paused later, when nobody thinks of
/// it any more.
fn pause(virsh: &Virsh, name: &str, note: &Path, id: Option<u32>) -> Result<(), QuiesceError> {
    let Err(why) = virsh.suspend(name) else { return Ok(()) };
    if why.is_too_long() {
        Note { how: How::Pausing, id }.write(note)?;
    }
    Err(why.into())
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
