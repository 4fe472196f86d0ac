//! What is found that wants somebody. Everything is looked at at the same time, each by itself: what does not
//! answer is told of, and keeps nobody from telling the rest.

mod backups;
pub(super) mod boot;
mod disks;
mod drift;
mod machines;
pub(super) mod pools;
mod units;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_tools::command::CommandError;

use super::machine::{Area, Condition, Observation};
use crate::everything;
use crate::pool::PoolError;
use bedplate_engine::in_time::{Asked, ask};
use bedplate_events::cause::in_line;
use bedplate_guests::hold::{HoldError, Recovered};
use bedplate_resources::context::Context;

/// One look that fails may be the machine's start, or its end.
const LOOK_PATIENCE: u64 = 15 * 60;
/// Something that could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The pools could not be looked at, or a record of theirs not be read.
    #[error("it could not be found out how the pools stand")]
    Pools(#[from] PoolError),
    /// `systemctl` did not list the units that failed.
    #[error("systemd could not be asked for units that failed")]
    Units(#[from] CommandError),
    /// What a backup noted of machines it held could not be read, or their drivers not be asked.
    #[error("it could not be found out which machines a backup left held")]
    Machines(#[from] HoldError),
    /// Something that waits, for a disk or a mount as a rule.
    #[error("{what}: looking at it did not end")]
    Hangs {
        /// Name of the area, such as `pool`.
        what: String,
    },
    /// The lock.
    #[error("could not lock {}", .path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// What the kernel said when the file, or the directory that it is in, was made.
        #[source]
        source: io::Error,
    },
}

/// What became of the machines that a backup left held; none while one holds them.
pub type Held = Result<Option<Recovered>, HoldError>;

/// Looks at everything. What cannot be looked at, or does not end, does not keep the rest from being told
/// of; it is told of itself (T43), and returned beside it.
pub fn observe(context: &Context, held: Asked<Held>, now: u64) -> (Observation, Vec<LookError>) {
    observe_within(context, held, now, everything::LIMIT)
}

fn observe_within(
    context: &Context,
    held: Asked<Held>,
    now: u64,
    limit: Duration,
) -> (Observation, Vec<LookError>) {
    let until = Instant::now() + limit;
    let context = &Arc::new(context.clone());
    let alone = alone(context);
    let is_alone = matches!(alone, Ok(Some(_)));
    let pools = start(context, pools::look);
    let boot = is_alone.then(|| start(context, boot::look));
    let backups = start(context, move |context| backups::look(context, now));
    let units = start(context, |_| units::look());
    let disks = start(context, disks::look);
    let drift = is_alone.then(|| drift::begin(context));

    let mut found = Observation::default();
    let mut failures = Vec::new();
    let mut busy = false;
    let mut add = |area: Area, conditions: Option<Result<Option<Vec<Condition>>, LookError>>| {
        match conditions.unwrap_or_else(|| Err(hangs(area.label().to_owned()))) {
            Ok(Some(conditions)) => {
                found.areas.insert(area);
                found.conditions.extend(conditions);
            }
            Ok(None) => busy = true,
            Err(failure) => {
                found.conditions.push(unseen(area, &failure));
                failures.push(failure);
            }
        }
    };
    let pools = pools.by(until);
    let well = pools.as_ref().and_then(|pools| Some(pools.as_ref().ok()?.as_ref()?.1.clone()));
    add(Area::Pools, pools.map(|pools| pools.map(|pools| Some(pools?.0))));
    match boot.map(|boot| boot.by(until)) {
        // All was well a short time ago.
        None | Some(Some(None)) => {}
        Some(conditions) => add(Area::Boot, conditions.map(Ok)),
    }
    add(Area::Backups, backups.by(until).map(|found| Ok(Some(found))));
    add(Area::Units, units.by(until).map(|found| found.map(Some)));
    add(Area::Machines, held.by(until).map(machines::conditions));
    add(Area::Disks, disks.by(until).map(|found| Ok(Some(found))));
    match (alone, drift) {
        (Err(failure), _) => add(Area::Drift, Some(Err(failure))),
        (Ok(_), None) => busy = true,
        (Ok(_), Some(drift)) => {
            let drift = drift.end(until);
            found.areas.extend(drift.areas);
            found.conditions.extend(drift.conditions);
            if let Some(failure) = drift.failure {
                found.conditions.push(unseen(Area::Drift, &failure));
                failures.push(failure);
            }
        }
    }
    found.well = well.unwrap_or_default();
    // What was not looked at for a good reason may still be what cannot be looked at.
    if !busy {
        found.areas.insert(Area::Looks);
    }
    (found, failures)
}

/// Begins to look at something.
fn start<T: Send + 'static>(
    context: &Arc<Context>,
    look: impl FnOnce(&Context) -> T + Send + 'static,
) -> Asked<T> {
    let context = Arc::clone(context);
    ask(move || look(&context))
}

/// The lock of whoever changes something; none while somebody does.
fn alone(context: &Context) -> Result<Option<File>, LookError> {
    let file = lock_file(context, "host.lock")?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks keeps nobody from looking.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

fn hangs(what: String) -> LookError {
    LookError::Hangs { what }
}

/// Something that cannot be looked at: nobody would be told how it stands.
fn unseen(area: Area, failure: &LookError) -> Condition {
    let condition = unseen_as(area.label(), &failure.to_string(), &in_line(failure));
    // What does not end was waited for long enough.
    let is_sure = matches!(failure, LookError::Hangs { .. });
    Condition { patience: if is_sure { 0 } else { LOOK_PATIENCE }, ..condition }
}

/// As [`unseen`], of what is called so.
fn unseen_as(name: &str, title: &str, why: &str) -> Condition {
    Condition {
        area: Area::Looks,
        name: name.to_owned(),
        kind: title.to_owned(),
        title: title.to_owned(),
        cleared: format!("it is seen again how it stands: {name}"),
        text: format!(
            "{why}\nUntil that is mended nothing is told of it. `bedplate-host notify` looks again, and \
             `journalctl -k` says whether a disk does not answer."
        ),
        urgent: true,
        patience: LOOK_PATIENCE,
    }
}

fn lock_file(context: &Context, name: &str) -> Result<File, LookError> {
    let path = context.runtime.join(name);
    let failed = |source| LookError::Lock { path: path.clone(), source };
    fs::create_dir_all(&context.runtime).map_err(failed)?;
    File::create(&path).map_err(failed)
}

#[cfg(test)]
mod tests;
