//! Whether what was copied is what its registration says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use bedplate_formats::boot::TOPLEVEL;
use bedplate_tools::nix::archive;
use bedplate_tools::nix::registration::{self, StorePath};

use super::copier::Copier;
use crate::error::{During as _, StepError};
use crate::meter::Meter;
use bedplate_engine::parallel::{movers, try_each};

/// A path and the store that it is in.
pub struct Expected<'a> {
    /// `nix/store` of an image.
    pub store: &'a Path,
    /// What it must be.
    pub path: StorePath,
}

/// What to do about a medium that is not as it was made.
const MAKE_AGAIN: &str = "make the medium again: `bedplate iso --with-closure`";

/// What the registration of an image says, by name. The platform's own images were hashed when
/// they were made and are read through dm-verity; what another machine's Nix built is not taken on
/// trust.
pub fn registered(image: &Path) -> Result<BTreeMap<String, StorePath>, StepError> {
    if !image.ends_with(TOPLEVEL) {
        return Ok(BTreeMap::new());
    }
    let file = image.join("registration");
    let text = fs::read_to_string(&file).during(format!("could not read {}", file.display()))?;
    let unreadable = || StepError::new(format!("{} cannot be read", file.display()));
    let paths = registration::parse(&text).ok_or_else(unreadable)?;
    let named = |path: StorePath| Some((path.name()?.to_owned(), path));
    let named: Option<BTreeMap<_, _>> = paths.into_iter().map(named).collect();
    named.ok_or_else(|| unreadable().next(MAKE_AGAIN))
}

/// Refuses what the registration does not name, and a registration of what is not there.
pub fn agrees(
    registered: &BTreeMap<String, StorePath>,
    image: &Path,
    names: &[String],
) -> Result<(), StepError> {
    if !image.ends_with(TOPLEVEL) {
        return Ok(());
    }
    let unnamed = names.iter().find(|name| !registered.contains_key(*name));
    let absent = registered.keys().find(|name| !names.contains(name));
    let why = match (unnamed, absent) {
        (Some(name), _) => format!("{} is not in the registration of the medium", shown(name)),
        (None, Some(name)) => format!("the medium lacks {}", shown(name)),
        (None, None) => return Ok(()),
    };
    Err(StepError::new(why).next(MAKE_AGAIN))
}

/// Copies what is expected from one directory to another and hashes it on the way.
pub fn copy(expected: &[Expected<'_>], staging: &Path, meter: &Meter<'_>) -> Result<(), StepError> {
    try_each(expected, movers(), &|Expected { store, path }: &Expected<'_>| {
        let name = path.name().unwrap_or_default();
        let what = || format!("could not copy {}", shown(name));
        let mut copier = Copier::new(staging, meter).during(what())?;
        let found = archive::content_before(&store.join(name), OsStr::new(name), &mut copier);
        let found = found.during(what())?;
        copier.complete(path.size);
        if (found.hash.as_str(), found.size) == (path.hash.as_str(), path.size) {
            return Ok(());
        }
        let why = "is not what the registration of the medium says: it was damaged or changed, \
            and nothing of the copy was put into the store";
        Err(StepError::new(format!("{} {why}", shown(name))).next(MAKE_AGAIN))
    })
}

fn shown(name: &str) -> String {
    format!("/nix/store/{}", name.escape_debug())
}
