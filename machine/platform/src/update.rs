//! `bedplate-host update`: the platform of a newer medium becomes a new generation.
//!
//! Its store paths are copied from the medium into the store, each by its hash; the repository then
//! names them, in one commit, and the system is built anew. What runs is left alone until the next
//! boot, and stays in the boot menu.

mod engine;
mod medium;
mod plan;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_facts::media::{self, Medium};
use bedplate_formats::platform::{DESCRIPTION, Platform};
use bedplate_model::host::Platform as Kind;
use bedplate_tools::git::Reader;
use bedplate_tools::nix::LocalStore;

use crate::generation;
use bedplate_engine::Reporter;
use bedplate_resources::context::Context;
use engine::{Engine, Store};
use medium::Opened;
use plan::{UpdateFacts, decide};

/// Where a medium is found by its label.
pub const MEDIUM: &str = "/dev/disk/by-label/BEDPLATE";

/// What cannot be updated like this.
#[derive(Debug, thiserror::Error)]
enum UpdateError {
    /// The machine runs NixOS, whose platform comes from its flake and not from a medium.
    #[error("this is NixOS: it is updated through its flake (`nix flake update`, then rebuild)")]
    NixOs,
    /// Chance would choose.
    #[error("{} media are plugged in: {}; unplug all but one, or name the device of the one that is meant", .0.len(), .0.join(" and "))]
    Several(Vec<String>),
    /// A file.
    #[error("could not read {}", .path.display())]
    Read {
        /// The description of the platform, in the repository or on the medium.
        path: PathBuf,
        /// What the kernel said when the description was read.
        #[source]
        source: io::Error,
    },
}

impl Store for LocalStore {
    fn is_valid(&self, path: &str) -> bool {
        LocalStore::is_valid(self, path)
    }

    fn add(
        &self,
        name: &str,
        from: &Path,
    ) -> Result<String, bedplate_tools::command::CommandError> {
        LocalStore::add(self, name, from)
    }
}

/// An update that is decided: what it does, and what that is done with.
pub struct Update {
    opened: Opened,
    plan: plan::Plan,
    host: String,
    /// Kept while the update is in use: nobody else changes things.
    _alone: File,
}

impl Update {
    /// Opens the medium in `device` and decides. `alone` keeps others from changing things meanwhile.
    pub fn decide(context: &Context, device: &Path, alone: File) -> Result<Self, Box<dyn Error>> {
        if context.intent.host.platform == Kind::Nixos {
            return Err(UpdateError::NixOs.into());
        }
        if device == Path::new(MEDIUM) {
            // The label is that of all of them.
            only_one(media::plugged_in()?)?;
        }
        let opened = Opened::open(device, &context.runtime.join("update"))?;
        let facts = look(Path::new(generation::REPOSITORY), &opened, &LocalStore)?;
        let host = context.intent.host.name.clone();
        Ok(Self { plan: decide(&host, &facts)?, opened, host, _alone: alone })
    }

    /// Its steps, a line each.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.plan.steps.iter().map(ToString::to_string)
    }

    /// Does it, and tells. True when the new generation is the next to boot.
    pub fn perform(&self, reporter: &Reporter<'_>) -> bool {
        let (repository, images) = (Path::new(generation::REPOSITORY), &self.opened.images);
        let engine = Engine { repository, host: &self.host, images, store: &LocalStore };
        let mut rebuild = || generation::rebuild(&self.host, true).map(|next| next.generation);
        engine.run(&self.plan, reporter, &mut rebuild)
    }
}

/// Whether the label names one medium.
fn only_one(media: Vec<Medium>) -> Result<(), UpdateError> {
    let about: Vec<String> = media.into_iter().map(|medium| medium.about).collect();
    if about.len() > 1 { Err(UpdateError::Several(about)) } else { Ok(()) }
}

/// What is known before anything is decided.
fn look(
    repository: &Path,
    opened: &Opened,
    store: &dyn Store,
) -> Result<UpdateFacts, Box<dyn Error>> {
    let read = |path: PathBuf| {
        fs::read(&path).map_err(|source| UpdateError::Read { path: path.clone(), source })
    };
    let held = match fs::read(repository.join(DESCRIPTION)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(UpdateError::Read { path: repository.join(DESCRIPTION), source }.into());
        }
        Ok(held) => Some(held),
    };
    let offered = read(opened.description())?;
    let parts = Platform::parse(&offered);
    let parts = parts.iter().flat_map(|platform| platform.parts().map(|part| part.path.clone()));
    let valid: BTreeSet<String> = parts.filter(|path| store.is_valid(path)).collect();
    Ok(UpdateFacts { held, offered, valid, uncommitted: Reader::new(repository).uncommitted()? })
}

#[cfg(test)]
mod tests;
