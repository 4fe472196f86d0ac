//! Guests whose files are in a snapshot: held while it is taken.
//!
//! How a guest is held is up to its driver. What is held is noted first, so that a guest is let go even if this
//! process is not there to do it.
//!
//! Nothing here waits for ever: what drivers ask has limits, and all guests are asked at the same time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_engine::parallel::at_once;
use bedplate_model::host::{Guest, HostFile, State};
use bedplate_tools::atomic::WriteError;

use crate::driver::{GuestDriver, GuestError};

/// Under the runtime directory.
const LOCK: &str = "held.lock";

/// A guest that could not be held or let go.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// What runs guests of this kind could not be asked or told.
    #[error("{what}")]
    Driver {
        /// What was tried, and could not be done.
        what: &'static str,
        /// What the driver met when it tried.
        #[source]
        source: GuestError,
    },
    /// A note.
    #[error("could not note that a guest is held")]
    Note(#[from] WriteError),
    /// A backup that was cut off left it so.
    #[error(
        "the machine `{name}` was frozen or paused by a backup that was cut off and cannot be let go; {advice}"
    )]
    StillHeld {
        /// Its name.
        name: String,
        /// What a person can do.
        advice: String,
        /// Why it cannot be let go.
        #[source]
        source: Box<HoldError>,
    },
    /// The agent does not answer.
    #[error(
        "the agent of `{name}` did not answer in time when it was asked to hold the guest, and may \
         hear it still; the guest was paused instead and runs again{advice}"
    )]
    Late {
        /// Its name.
        name: String,
        /// What a person can do should the guest stand still, after a comma; or nothing.
        advice: String,
        /// What it said when it was asked to let go.
        #[source]
        source: GuestError,
    },
    /// A note.
    #[error("could not read or remove {}", .path.display())]
    File {
        /// The note of a guest, the directory of notes, or their lock.
        path: PathBuf,
        /// What the kernel said when it was read, removed or locked.
        #[source]
        source: io::Error,
    },
}

impl HoldError {
    /// From what a driver met, with what it tried.
    pub fn driver(what: &'static str, source: impl Into<GuestError>) -> Self {
        Self::Driver { what, source: source.into() }
    }

    /// Whether the guest runs although its agent is silent: it is paused again by the next backup.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. })
    }
}

/// Guests that are held until [`Held::release`], or until it is dropped.
pub struct Held<'a> {
    driver: &'a dyn GuestDriver,
    notes: PathBuf,
    names: Vec<String>,
}

impl<'a> Held<'a> {
    /// Holds guests of one kind, all at the same time. When one cannot be held none is.
    pub fn hold(
        driver: &'a dyn GuestDriver,
        runtime: &Path,
        names: &[String],
    ) -> Result<Self, HoldError> {
        // Those too of which nothing is noted yet: there is nothing to let go then.
        let held = Self { driver, notes: runtime.join(driver.notes()), names: names.to_vec() };
        at_once(names, |name| driver.hold(name, &held.notes.join(name)))
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(held)
    }

    /// Lets all go; the first failure is told after all were tried.
    pub fn release(mut self) -> Result<(), HoldError> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<(), HoldError> {
        let names = std::mem::take(&mut self.names);
        let_all_go(self.driver, &self.notes, &names).into_iter().collect()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What fails here stays noted, and is tried again by `recover`.
        let _ = self.let_go();
    }
}

/// Lets guests go, all at the same time: one that does not answer keeps none of the others standing.
fn let_all_go(
    driver: &dyn GuestDriver,
    notes: &Path,
    names: &[String],
) -> Vec<Result<(), HoldError>> {
    at_once(names, |name| driver.let_go(name, &notes.join(name)))
}

/// The guests of `host.toml` with files in or around `paths`.
pub fn affected<'h>(host: &'h HostFile, paths: &[PathBuf]) -> Vec<Guest<'h>> {
    let present = host.guests().filter(|guest| guest.state == State::Present);
    present.filter(|guest| guest.touches(paths)).collect()
}

/// Of `guests`, those of the kind of `driver`, by name.
pub fn names(driver: &dyn GuestDriver, guests: &[Guest<'_>]) -> Vec<String> {
    let of_kind = guests.iter().filter(|guest| guest.section == driver.section());
    of_kind.map(|guest| guest.name.to_string()).collect()
}

/// Two backups must not hold and let go the same guest: released when it is dropped.
pub fn lock(runtime: &Path) -> Result<File, HoldError> {
    let file = lock_file(runtime)?;
    let failed = |source| HoldError::File { path: runtime.join(LOCK), source };
    file.lock().map_err(failed)?;
    Ok(file)
}

fn lock_file(runtime: &Path) -> Result<File, HoldError> {
    let failed = |source| HoldError::File { path: runtime.join(LOCK), source };
    fs::create_dir_all(runtime).and_then(|()| File::create(runtime.join(LOCK))).map_err(failed)
}

/// What became of the guests that an earlier run held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Held no longer.
    pub free: Vec<String>,
    /// Held still, and tried again the next time.
    pub left: Vec<StillHeld>,
}

/// A guest that is held still.
#[derive(Debug)]
pub struct StillHeld {
    /// Its name.
    pub name: String,
    /// What a person can do.
    pub advice: String,
    /// Why it cannot be let go.
    pub why: HoldError,
}

impl Recovered {
    /// A guest of `names` that is held still cannot be held anew; those of others are no obstacle.
    pub fn expect_free(self, names: &[String]) -> Result<(), HoldError> {
        // One whose agent is silent runs: it is paused again, and it was told.
        let is_needed = |one: &StillHeld| names.contains(&one.name) && !one.why.is_late();
        let needed = self.left.into_iter().find(is_needed);
        needed.map_or(Ok(()), |StillHeld { name, advice, why }| {
            Err(HoldError::StillHeld { name, advice, source: Box::new(why) })
        })
    }
}

/// As [`recover`] of every kind; none when guests are held just now for a backup that runs.
pub fn recover_if_idle(
    drivers: &[Box<dyn GuestDriver>],
    runtime: &Path,
) -> Result<Option<Recovered>, HoldError> {
    let file = lock_file(runtime)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => {
            return Err(HoldError::File { path: runtime.join(LOCK), source });
        }
    }
    let (mut all, mut result) = (Recovered::default(), Ok(()));
    for driver in drivers {
        // One kind whose notes cannot be read keeps no guest of another standing.
        match recover(&**driver, runtime) {
            Ok(recovered) => {
                all.free.extend(recovered.free);
                all.left.extend(recovered.left);
            }
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| Some(all))
}

/// Lets go what an earlier run held of one kind and did not let go. One that cannot be let go does not keep
/// the others.
pub fn recover(driver: &dyn GuestDriver, runtime: &Path) -> Result<Recovered, HoldError> {
    let notes = runtime.join(driver.notes());
    let entries = match fs::read_dir(&notes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovered::default()),
        entries => entries.map_err(|source| HoldError::File { path: notes.clone(), source })?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    let mut recovered = Recovered::default();
    let results = let_all_go(driver, &notes, &names);
    for (name, result) in names.into_iter().zip(results) {
        match result {
            Ok(()) => recovered.free.push(name),
            Err(why) => {
                let advice = driver.free_by_hand(&name);
                recovered.left.push(StillHeld { name, advice, why });
            }
        }
    }
    Ok(recovered)
}

/// Removes the note on a guest that is held no longer.
pub fn forget(note: &Path) -> Result<(), HoldError> {
    fs::remove_file(note).map_err(|source| HoldError::File { path: note.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use bedplate_sample as sample;

    use super::*;

    #[test]
    fn only_machines_with_files_in_the_snapshot_are_held() {
        let mut intent = sample::intent();
        let of = |path: &str| -> Vec<String> {
            affected(&intent, &[path.into()]).iter().map(Guest::place).collect()
        };
        assert_eq!(of("/mnt/vmstore"), ["vms.haos"]);
        assert_eq!(of("/mnt/vmstore/haos"), ["vms.haos"]);
        assert_eq!(of("/mnt/vmstore/haos/nvram"), ["vms.haos"]);
        assert!(of("/mnt/vmstore/haos2").is_empty());
        assert!(of("/mnt/bulk").is_empty());
        intent.vms.get_mut("haos").unwrap().state = State::Absent;
        assert!(affected(&intent, &["/mnt/vmstore".into()]).is_empty());
    }

    #[test]
    fn a_machine_that_cannot_be_let_go_stops_the_backups_of_its_own_disks_alone() {
        let left = || {
            let error = HoldError::File { path: "/x".into(), source: io::Error::other("no") };
            let left = StillHeld { name: "haos".into(), advice: "look".into(), why: error };
            Recovered { free: vec!["apps".into()], left: vec![left] }
        };
        left().expect_free(&[]).unwrap();
        left().expect_free(&["apps".into()]).unwrap();
        let error = left().expect_free(&["apps".into(), "haos".into()]).unwrap_err();
        assert!(error.to_string().contains("`haos`"), "{error}");
    }
}
