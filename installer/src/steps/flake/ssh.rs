//! Who the installer is to an ssh server, and which server it speaks to.
//!
//! The key lies on the key stick and is copied to a file in memory; ssh gets the path of its
//! configuration and nothing else. The server must show the host key of `host.toml`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_keystick as keystick;
use bedplate_model::host::SecretReference;
use bedplate_tools::git::SshAccess;
use bedplate_tools::secret::Secret;
use tempfile::TempDir;

use crate::access::write_private;
use crate::error::{During as _, StepError};

/// A file system in memory, in the live system and anywhere else.
pub const MEMORY: &str = "/dev/shm";

/// No private key is longer.
const KEY_LIMIT: u64 = 64 << 10;

/// What the server is called where its key stands.
const ALIAS: &str = "bedplate-remote";

/// A private key that a stick has. There is none of it anywhere else while a machine is installed.
pub fn key(reference: &SecretReference, sticks: &[&Path]) -> Result<Secret, StepError> {
    let SecretReference::Stick(path) = reference else {
        return Err(StepError::new(format!("{reference} is no place for its key")));
    };
    for stick in sticks {
        let found = keystick::read_if_there(stick, path, KEY_LIMIT);
        if let Some(key) = found.during("the key stick cannot be read")? {
            return Ok(key);
        }
    }
    Err(StepError::new(format!("no key stick has `{path}`")))
}

/// A directory in memory that is private, and gone when it is dropped.
pub fn private_place() -> io::Result<TempDir> {
    let mut place = tempfile::Builder::new();
    place.prefix("bedplate-git-").permissions(Permissions::from_mode(0o700));
    place.tempdir_in(MEMORY)
}

/// Key, host key and configuration as files for root alone, gone when it is dropped.
pub struct Identity {
    _place: TempDir,
    config: PathBuf,
}

impl Identity {
    /// Of whoever holds `key`, at the server with `host_key` (a line of a `.pub` file).
    pub fn prepare(key: &Secret, host_key: &str) -> io::Result<Self> {
        let place = private_place()?;
        let file = |name: &str| place.path().join(name);
        let (private, known, config) = (file("key"), file("known_hosts"), file("config"));
        for (path, content) in [
            (&private, key.expose()),
            (&known, format!("{ALIAS} {}\n", pinned(host_key)).as_bytes()),
            (&config, configuration(&private, &known).as_bytes()),
        ] {
            write_private(path, content)?;
        }
        Ok(Self { _place: place, config })
    }

    /// For a git that runs the ssh `program`.
    pub fn access<'a>(&'a self, program: &'a str) -> SshAccess<'a> {
        SshAccess { program, config: &self.config }
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
