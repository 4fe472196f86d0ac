//! Virtual machines whose disks are in a snapshot: held while it is taken.
//!
//! The guest's agent flushes and holds the guest's file systems. A guest without one is paused:
//! what it has written is flushed, and a restored disk is as after a power cut. What is held is noted
//! first, so that a machine is let go even if this process is not there to do it.
//!
//! Nothing here waits for ever: every call of libvirt has its limit, and all machines are asked at the same
//! time. A guest whose agent does not answer
//! in time is paused in its place, and because the agent may hear of the freeze later, it counts as held
//! until the agent has said that it is not.

mod held;
mod note;
mod release;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_libvirt::LibvirtError;
use bedplate_model::host::{HostFile, State};
use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use bedplate_guests::vm::inspect::{self, InspectError};
use bedplate_tools::atomic::WriteError;

pub use held::Held;

/// Under the runtime directory: a file for each machine that is held.
const DIRECTORY: &str = "held";
/// Under the runtime directory.
const LOCK: &str = "held.lock";

/// A machine that could not be held or let go.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// libvirt did not say which domains there are, or how they stand.
    #[error("libvirt could not be looked at")]
    Look(#[from] LibvirtError),
    /// `virsh` could not ask or tell a machine something.
    #[error("libvirt could not be asked or told")]
    Libvirt(#[from] CommandError),
    /// The XML that libvirt returned for a domain cannot be read.
    #[error("a domain could not be understood")]
    Inspect(#[from] InspectError),
    /// A note.
    #[error("could not note that a machine is held")]
    Note(#[from] WriteError),
    /// A backup that was cut off left it so.
    #[error(
        "the machine `{name}` was frozen or paused by a backup that was cut off and cannot be let go; \
         see that its agent answers (`virsh domfsthaw {name}`), or start it anew: \
         `bedplate-host vm restart {name} --force`"
    )]
    StillHeld {
        /// Its name.
        name: String,
        /// Why it cannot be let go.
        #[source]
        source: Box<QuiesceError>,
    },
    /// The agent does not answer.
    #[error(
        "the agent of `{name}` did not answer in time when it was asked to hold the guest, and may \
         hear it still; the guest was paused instead and runs again, and `virsh domfsthaw {name}` lets \
         it go should it stand still"
    )]
    Late {
        /// Its name.
        name: String,
        /// What it said when it was asked to let go.
        #[source]
        source: CommandError,
    },
    /// A note.
    #[error("could not read or remove {}", .path.display())]
    File {
        /// The note of a machine, the directory of notes, or their lock.
        path: PathBuf,
        /// What the kernel said when it was read, removed or locked.
        #[source]
        source: io::Error,
    },
}

/// The machines of host.toml with files in or around `paths`.
pub fn affected(intent: &HostFile, paths: &[PathBuf]) -> Vec<String> {
    let mut names = Vec::new();
    for (name, vm) in &intent.vms {
        let Some(pool) = intent.pools.get(&vm.pool) else { continue };
        let directory = Path::new(&pool.mount).join(name);
        let inside = |path: &PathBuf| directory.starts_with(path) || path.starts_with(&directory);
        if vm.state == State::Present && paths.iter().any(inside) {
            names.push(name.clone());
        }
    }
    names
}

/// Those of `names` that run and carry our tag. Without names libvirt is not asked: a backup of plain
/// files does not need it.
pub fn running(virsh: &Virsh, names: Vec<String>) -> Result<Vec<String>, QuiesceError> {
    if names.is_empty() {
        return Ok(names);
    }
    // One that somebody paused is not ours to wake.
    let paused = virsh.paused()?;
    let mut ours = Vec::new();
    for one in bedplate_libvirt::domains(virsh.uri())? {
        if names.contains(&one.name)
            && !paused.contains(&one.name)
            && let Some(xml) = one.live
            && inspect::intent(&xml)?.is_some()
        {
            ours.push(one.name);
        }
    }
    Ok(ours)
}

/// Two backups must not hold and let go the same machine: released when it is dropped.
pub fn lock(runtime: &Path) -> Result<File, QuiesceError> {
    let file = lock_file(runtime)?;
    let failed = |source| QuiesceError::File { path: runtime.join(LOCK), source };
    file.lock().map_err(failed)?;
    Ok(file)
}

fn lock_file(runtime: &Path) -> Result<File, QuiesceError> {
    let failed = |source| QuiesceError::File { path: runtime.join(LOCK), source };
    fs::create_dir_all(runtime).and_then(|()| File::create(runtime.join(LOCK))).map_err(failed)
}

/// What became of the machines that an earlier run held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Held no longer.
    pub free: Vec<String>,
    /// Held still, and tried again the next time.
    pub left: Vec<(String, QuiesceError)>,
}

impl Recovered {
    /// A machine of `names` that is held still cannot be held anew; those of others are no obstacle.
    pub fn expect_free(self, names: &[String]) -> Result<(), QuiesceError> {
        // One whose agent is silent runs: it is paused again, and it was told.
        let is_late = |why: &QuiesceError| matches!(why, QuiesceError::Late { .. });
        let needed =
            self.left.into_iter().find(|(name, why)| names.contains(name) && !is_late(why));
        needed.map_or(Ok(()), |(name, source)| {
            Err(QuiesceError::StillHeld { name, source: Box::new(source) })
        })
    }
}

/// As [`recover`]; none when machines are held just now for a backup that runs.
pub fn recover_if_idle(virsh: &Virsh, runtime: &Path) -> Result<Option<Recovered>, QuiesceError> {
    let file = lock_file(runtime)?;
    match file.try_lock() {
        Ok(()) => recover(virsh, runtime).map(Some),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => {
            Err(QuiesceError::File { path: runtime.join(LOCK), source })
        }
    }
}

/// Lets go what an earlier run held and did not let go. One that cannot be let go does not keep the
/// others.
pub fn recover(virsh: &Virsh, runtime: &Path) -> Result<Recovered, QuiesceError> {
    let notes = runtime.join(DIRECTORY);
    let entries = match fs::read_dir(&notes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovered::default()),
        entries => entries.map_err(|source| QuiesceError::File { path: notes.clone(), source })?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    let mut recovered = Recovered::default();
    let results = release::let_all_go(virsh, &notes, &names);
    for (name, result) in names.into_iter().zip(results) {
        match result {
            Ok(()) => recovered.free.push(name),
            Err(why) => recovered.left.push((name, why)),
        }
    }
    Ok(recovered)
}

#[cfg(test)]
mod tests;
