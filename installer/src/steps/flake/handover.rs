//! The way back to the owner: a bundle of the host's commit on the key sticks.

use std::path::Path;

use bedplate_keystick as keystick;
use bedplate_tools::git::Reader;

use super::{BASE, Enrolment};
use crate::answers::Repository;
use crate::error::{During as _, RUN_AGAIN, StepError};

/// Where bundles lie on a stick.
const DIRECTORY: &str = "bedplate/enrolled";

/// How a bundle was handed over.
#[derive(Debug, PartialEq, Eq)]
pub enum Handover {
    /// There is nobody to hand it to, or nothing new.
    Nothing,
    /// What the owner does with it.
    Left(String),
    /// Why it could not be, and what to do: no reason to stop an installation.
    Failed(String),
}

/// Leaves the commits that the owner does not have on every stick.
pub fn leave(enrolment: &Enrolment<'_>, sticks: &[&Path]) -> Handover {
    if !matches!(enrolment.source, Some(Repository::Bundle { .. })) {
        return Handover::Nothing;
    }
    let git = Reader::new(enrolment.repository);
    if git.commit(BASE) == git.commit("HEAD") {
        return Handover::Nothing;
    }
    let name = enrolment.name;
    let path = format!("{DIRECTORY}/{name}.bundle");
    let fetch = format!("HEAD:bedplate/{name}");
    match write(&git, &path, sticks) {
        Ok(()) => Handover::Left(format!(
            "the commit of {name} was not pushed; it is on the key stick, in {path}. In your \
             repository, with STICK for where the stick is mounted: \
             `git fetch STICK/{path} {fetch}`, then merge or push the branch bedplate/{name}"
        )),
        Err(error) => Handover::Failed(format!(
            "{error} ({}); the commit of {name} is in /etc/nixos of the machine alone, the \
             installation goes on. Once it runs, in your repository: \
             `git fetch ssh://root@{name}/etc/nixos {fetch}`",
            error.causes().join(": ")
        )),
    }
}

fn write(git: &Reader, path: &str, sticks: &[&Path]) -> Result<(), StepError> {
    let what = "could not leave the host's commit on the key stick";
    if sticks.is_empty() {
        return Err(StepError::new(format!("{what}: none is mounted")).next(RUN_AGAIN));
    }
    let place = tempfile::tempdir().during(what)?;
    let file = place.path().join("enrolled.bundle");
    git.bundle_since(&file, BASE).during(what)?;
    let bytes = std::fs::read(&file).during(what)?;
    for stick in sticks {
        keystick::write(stick, path, &bytes).during(what)?;
    }
    Ok(())
}
