//! The lab: copies of machines, from the newest snapshot, on a bridge that leads nowhere.
//!
//! A copy has a name, UUID and MAC of its own, no USB device, and is started by hand alone. It stands in
//! no `host.toml`: nothing backs it up and nobody is told of it. Its disk is in a subvolume of its
//! own, which the snapshots of backups do not hold.

mod compared;
mod engine;
mod plan;
mod record;

use std::path::{Path, PathBuf};

pub use compared::compared;
pub use engine::{LabError, clone, destroy, reset};
pub use plan::{LabFacts, Refusal, Source, Step, clones, leads_somewhere, removals};
pub use record::Lab;

/// Subvolume at the top of a pool.
const DIRECTORY: &str = ".bedplate-lab";
/// Before the names of copies.
const PREFIX: &str = "lab-";

/// The name of the copy of `machine`.
pub fn name(machine: &str) -> String {
    format!("{PREFIX}{machine}")
}

/// The bridge that the copies are on; none when there is no lab.
pub fn bridge(state: &Path) -> Result<Option<String>, LabError> {
    Ok(record::read(state)?.map(|lab| lab.bridge))
}

fn place(mount: &Path) -> PathBuf {
    mount.join(DIRECTORY)
}
