//! The way back over the network: the host's commit as a branch of the owner's remote, over ssh.

use std::path::Path;
use std::time::Duration;

use bedplate_model::host::Push;
use bedplate_tools::git::Git;

use super::Enrolment;
use super::patience::persist;
use super::ssh::{Identity, key};
use crate::error::{During as _, StepError};

/// Between tries: a lease may come late.
pub const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

/// How a branch is pushed.
pub struct Way<'a> {
    /// The remote.
    pub remote: &'a str,
    /// Key and host key.
    pub with: &'a Push,
    /// The key sticks, mounted.
    pub sticks: &'a [&'a Path],
    /// The program.
    pub ssh: &'a str,
    /// Pauses between tries.
    pub pauses: &'a [Duration],
}

impl Way<'_> {
    /// Pushes the newest commit to the branch of the host; what to tell its owner. Pushed already,
    /// nothing changes. A branch with other commits is not overwritten.
    pub fn push(&self, enrolment: &Enrolment<'_>) -> Result<String, StepError> {
        let name = enrolment.name;
        let branch = format!("bedplate/{name}");
        let what = || format!("the commit of {name} was not pushed to {}", self.remote);
        let key = key(&self.with.key, self.sticks).during(what())?;
        let identity = Identity::prepare(&key, &self.with.host_key).during(what())?;
        let git = Git::new(enrolment.repository, name, &enrolment.email());
        let access = identity.access(self.ssh);
        persist(self.pauses, || git.push(self.remote, &branch, &access)).during(what())?;
        Ok(format!("the commit of {name} is on {}, to be merged: branch {branch}", self.remote))
    }
}

#[cfg(test)]
mod tests;
