//! Virtual machines whose disks are in a snapshot: held while it is taken.
//!
//! The guest's agent flushes and holds the guest's file systems. A guest without one is paused:
//! what it has written is flushed, and a restored disk is as after a power cut. What is held is noted
//! first, so that a machine is let go even if this process is not there to do it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_libvirt::LibvirtError;
use bedplate_spec::host::{HostFile, State};
use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use crate::atomic::{self, WriteError};
use crate::vm::inspect::{self, InspectError};

/// Under the runtime directory: a file for each machine that is held.
const DIRECTORY: &str = "held";
/// Under the runtime directory.
const LOCK: &str = "held.lock";

/// A machine that could not be held or let go.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// Reading.
    #[error("libvirt could not be looked at")]
    Look(#[from] LibvirtError),
    /// virsh.
    #[error("libvirt could not be asked or told")]
    Libvirt(#[from] CommandError),
    /// XML.
    #[error("a domain could not be understood")]
    Inspect(#[from] InspectError),
    /// A note.
    #[error("could not note that a machine is held")]
    Note(#[from] WriteError),
    /// A note.
    #[error("could not read or remove {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
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

/// Machines that are held until [`Held::release`], or until it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    virsh: &'a Virsh,
    notes: PathBuf,
    names: Vec<String>,
}

impl<'a> Held<'a> {
    /// Holds the machines. When one cannot be held none is.
    pub fn hold(virsh: &'a Virsh, runtime: &Path, names: &[String]) -> Result<Self, QuiesceError> {
        let mut held = Self { virsh, notes: runtime.join(DIRECTORY), names: Vec::new() };
        for name in names {
            let note = held.notes.join(name);
            atomic::write(&note, "frozen\n", 0o600)?;
            held.names.push(name.clone());
            if virsh.freeze(name).is_err() {
                atomic::write(&note, "paused\n", 0o600)?;
                virsh.suspend(name)?;
            }
        }
        Ok(held)
    }

    /// Lets all go; the first failure is told after all were tried.
    pub fn release(mut self) -> Result<(), QuiesceError> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<(), QuiesceError> {
        let results: Vec<_> =
            self.names.drain(..).map(|name| let_go(self.virsh, &self.notes, &name)).collect();
        results.into_iter().collect()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What fails here stays noted, and is tried again by `recover`.
        let _ = self.let_go();
    }
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

/// As [`recover`], unless machines are held just now for a backup that runs.
pub fn recover_if_idle(virsh: &Virsh, runtime: &Path) -> Result<Vec<String>, QuiesceError> {
    let file = lock_file(runtime)?;
    match file.try_lock() {
        Ok(()) => recover(virsh, runtime),
        Err(TryLockError::WouldBlock) => Ok(Vec::new()),
        Err(TryLockError::Error(source)) => {
            Err(QuiesceError::File { path: runtime.join(LOCK), source })
        }
    }
}

/// Lets go what an earlier run held and did not let go. Returns the names.
pub fn recover(virsh: &Virsh, runtime: &Path) -> Result<Vec<String>, QuiesceError> {
    let notes = runtime.join(DIRECTORY);
    let entries = match fs::read_dir(&notes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| QuiesceError::File { path: notes.clone(), source })?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.iter().try_for_each(|name| let_go(virsh, &notes, name))?;
    Ok(names)
}

fn let_go(virsh: &Virsh, notes: &Path, name: &str) -> Result<(), QuiesceError> {
    let path = notes.join(name);
    let failed = |source| QuiesceError::File { path: path.clone(), source };
    let how = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        how => how.map_err(failed)?,
    };
    // One that has gone away meanwhile is held no longer.
    if virsh.running()?.contains(&name.to_owned()) || virsh.paused()?.contains(&name.to_owned()) {
        if how.trim() == "paused" {
            // Suspending may have failed before anything was paused.
            if virsh.paused()?.contains(&name.to_owned()) {
                virsh.resume(name)?;
            }
        } else {
            virsh.thaw(name)?;
        }
    }
    fs::remove_file(&path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn only_machines_with_files_in_the_snapshot_are_held() {
        let mut intent = sample::intent();
        let of = |path: &str| affected(&intent, &[path.into()]);
        assert_eq!(of("/mnt/vmstore"), ["haos"]);
        assert_eq!(of("/mnt/vmstore/haos"), ["haos"]);
        assert_eq!(of("/mnt/vmstore/haos/nvram"), ["haos"]);
        assert!(of("/mnt/vmstore/haos2").is_empty());
        assert!(of("/mnt/bulk").is_empty());
        intent.vms.get_mut("haos").unwrap().state = State::Absent;
        assert!(affected(&intent, &["/mnt/vmstore".into()]).is_empty());
    }

    #[test]
    fn a_backup_of_plain_files_does_without_libvirt() {
        let nowhere = Virsh::new("test:///no/such/file");
        assert!(running(&nowhere, Vec::new()).unwrap().is_empty());
        assert!(running(&nowhere, vec!["haos".into()]).is_err());
    }

    #[test]
    fn f10_what_a_run_that_was_cut_off_held_is_let_go() {
        let runtime = tempfile::tempdir().unwrap();
        let notes = runtime.path().join(DIRECTORY);
        atomic::write(&notes.join("haos"), "frozen\n", 0o600).unwrap();
        // No libvirt answers: the note stays, to be tried again.
        let nowhere = Virsh::new("test:///no/such/file");
        assert!(recover(&nowhere, runtime.path()).is_err());
        assert!(notes.join("haos").exists());
        assert!(recover(&nowhere, &runtime.path().join("none")).unwrap().is_empty());
    }
}
