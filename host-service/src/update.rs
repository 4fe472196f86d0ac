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
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bedplate_events::Event;
use bedplate_facts::media::{self, Medium};
use bedplate_formats::platform::{DESCRIPTION, Platform};
use bedplate_model::host::Platform as Kind;
use bedplate_tools::git::Reader;
use bedplate_tools::nix::LocalStore;

use crate::command::{Finished, NotAsIntended};
use crate::generation;
use crate::intent;
use crate::show::{self, Format};
use bedplate_engine::Reporter;
use engine::{Engine, Store};
use medium::Opened;
use plan::{Facts, decide};

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

/// The command: from the medium in `device`.
pub fn command(
    host_file: &Path,
    device: &Path,
    is_dry: bool,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Finished {
    let context = intent::context(host_file)?;
    if context.intent.host.platform == Kind::Nixos {
        return Err(UpdateError::NixOs.into());
    }
    if device == Path::new(MEDIUM) {
        // The label is that of all of them.
        only_one(media::plugged_in()?)?;
    }
    let _alone = crate::command::lock(&context.runtime)?;
    let opened = Opened::open(device, &context.runtime.join("update"))?;
    let (repository, store) = (Path::new(generation::REPOSITORY), LocalStore);
    let facts = look(repository, &opened, &store)?;
    let plan = decide(&context.intent.host.name, &facts)?;
    if is_dry {
        plan.steps.iter().try_for_each(|step| writeln!(out, "{step}"))?;
        return Ok(());
    }
    let mut written = Ok(());
    let mut sink = |event: &Event| {
        let format = if json { Format::Json } else { Format::Plain };
        let result = show::event(out, format, event).and_then(|()| out.flush());
        written = std::mem::replace(&mut written, Ok(())).and(result);
    };
    let host = context.intent.host.name.as_str();
    let engine = Engine { repository, host, images: &opened.images, store: &store };
    let mut rebuild = || generation::rebuild(host, true).map(|next| next.generation);
    let success = engine.run(&plan, &Reporter::to(&mut sink), &mut rebuild);
    written?;
    if success { Ok(()) } else { Err(NotAsIntended::Update.into()) }
}

/// Whether the label names one medium.
fn only_one(media: Vec<Medium>) -> Result<(), UpdateError> {
    let about: Vec<String> = media.into_iter().map(|medium| medium.about).collect();
    if about.len() > 1 { Err(UpdateError::Several(about)) } else { Ok(()) }
}

/// What is known before anything is decided.
fn look(repository: &Path, opened: &Opened, store: &dyn Store) -> Result<Facts, Box<dyn Error>> {
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
    Ok(Facts { held, offered, valid, uncommitted: Reader::new(repository).uncommitted()? })
}

#[cfg(test)]
mod tests;
