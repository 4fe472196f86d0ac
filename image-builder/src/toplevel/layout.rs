//! A closure as a medium carries it: files with the permissions of a store.

use std::fs;
use std::path::Path;

use bedplate_tools::nix::Workstation;
use bedplate_tools::nix::archive;
use bedplate_tools::nix::registration::{self, StorePath};

use super::Built;
use crate::closure;
use crate::error::{Error, file, unfit};

/// Lays out below `stage` what is carried, and returns the registration to load. A path whose content
/// is not what the workstation's store says of it is refused.
pub fn lay_out(built: &Built, workstation: &Workstation, stage: &Path) -> Result<String, Error> {
    let store = stage.join("nix/store");
    fs::create_dir_all(&store).map_err(file("make", &store))?;
    for path in &built.carried {
        put(path, &workstation.place(&path.path), &store)?;
    }
    Ok(registration::text(&built.carried))
}

fn put(path: &StorePath, from: &Path, store: &Path) -> Result<(), Error> {
    let name = path.name();
    let name = name.ok_or_else(|| unfit("the store path", from, "has a name like none"))?;
    let target = store.join(name);
    closure::copy(from, &target)?;
    let found = archive::content(&target).map_err(file("read", &target))?;
    if (found.hash.as_str(), found.size) == (path.hash.as_str(), path.size) {
        return Ok(());
    }
    let why = "its content is not what the store says of it; `nix-store --verify --check-contents \
        --repair` repairs the workstation's store";
    Err(unfit("the store path", Path::new(&path.path), why))
}
