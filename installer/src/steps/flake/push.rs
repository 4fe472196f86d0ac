//! The way back over the network: the host's commit as a branch of the owner's remote, over ssh.
//!
//! The key lies on the key stick and is copied to a file in memory; ssh gets the path of its
//! configuration and nothing else. The remote must show the host key of `host.toml`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bedplate_keystick as keystick;
use bedplate_spec::host::{Push, SecretReference};
use bedplate_tools::git::{Git, SshAccess};
use bedplate_tools::secret::Secret;

use super::Enrolment;
use crate::access::write_private;
use crate::error::{During as _, StepError};

/// Between tries: a lease may come late.
pub const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];

/// No private key is longer.
const KEY_LIMIT: u64 = 64 << 10;

/// A file system in memory, in the live system and anywhere else.
const MEMORY: &str = "/dev/shm";

/// What the remote is called where its key stands.
const ALIAS: &str = "bedplate-remote";

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
        let key = self.key().during(what())?;
        let mut place = tempfile::Builder::new();
        place.prefix("bedplate-push-").permissions(fs::Permissions::from_mode(0o700));
        let place = place.tempdir_in(MEMORY);
        let place = place.during(what())?;
        let config = place.path().join("config");
        self.write(place.path(), &key).during(what())?;
        let git = Git::new(enrolment.repository, name, &enrolment.email());
        let access = SshAccess { program: self.ssh, config: &config };
        let mut pauses = self.pauses.iter();
        loop {
            match git.push(self.remote, &branch, &access) {
                Ok(()) => break,
                Err(error) => match pauses.next() {
                    Some(pause) => std::thread::sleep(*pause),
                    None => return Err(error).during(what()),
                },
            }
        }
        Ok(format!("the commit of {name} is on {}, to be merged: branch {branch}", self.remote))
    }

    fn key(&self) -> Result<Secret, StepError> {
        let SecretReference::Stick(path) = &self.with.key else {
            return Err(StepError::new(format!("{} is no place for its key", self.with.key)));
        };
        for stick in self.sticks {
            let found = keystick::read_if_there(stick, path, KEY_LIMIT);
            if let Some(key) = found.during("the key stick cannot be read")? {
                return Ok(key);
            }
        }
        Err(StepError::new(format!("no key stick has `{path}`")))
    }

    /// Key, host key and configuration, for root alone; the directory is gone when the push is over.
    fn write(&self, place: &Path, key: &Secret) -> io::Result<()> {
        let (private, known, config) =
            (place.join("key"), place.join("known_hosts"), place.join("config"));
        for (path, content) in [
            (&private, key.expose()),
            (&known, format!("{ALIAS} {}\n", pinned(&self.with.host_key)).as_bytes()),
            (&config, configuration(&private, &known).as_bytes()),
        ] {
            write_private(path, content)?;
        }
        Ok(())
    }
}

/// Kind and key; a comment is nobody's business.
fn pinned(host_key: &str) -> String {
    host_key.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// What ssh may do: this key, this host key, no question, no endless wait (ssh_config(5)).
fn configuration(private: &Path, known: &Path) -> String {
    format!(
        "Host *\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\n\
         UserKnownHostsFile {}\nGlobalKnownHostsFile none\nHostKeyAlias {ALIAS}\n\
         StrictHostKeyChecking yes\nUpdateHostKeys no\nBatchMode yes\n\
         PreferredAuthentications publickey\nClearAllForwardings yes\n\
         ConnectTimeout 20\nServerAliveInterval 10\nServerAliveCountMax 3\n",
        private.display(),
        known.display()
    )
}

#[cfg(test)]
mod tests;
