//! The machine's ssh key, when it was made in advance (`bedplate host prepare`): from the key
//! stick, where it lies sealed with a passphrase, to `/etc/ssh`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_keystick::layout::HOST_KEY as SEALED;
use bedplate_model::host::HostFile;
use bedplate_secrets::age_file::{self, AgeError};
use bedplate_secrets::ssh::{self, KeyError};
use bedplate_tools::command::CommandError;
use bedplate_tools::secret::Secret;

use crate::secret::HOST_KEY;
use bedplate_tools::atomic::{self, WriteError};

/// How often a passphrase may be mistyped.
const TRIES: usize = 3;

/// What became of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It stands in `/etc/ssh` now.
    Written,
    /// The machine has a key, which is left alone.
    HasKey,
}

/// A key that was not put in place. `/etc/ssh` is as before.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Nobody typed.
    #[error(
        "nobody gave the passphrase of the host's key; run `bedplate-host host-key take --replace`"
    )]
    Ask(#[source] CommandError),
    /// Somebody typed, and none of the passphrases was the right one.
    #[error(
        "{TRIES} passphrases did not open the host's key; run `bedplate-host host-key take --replace`"
    )]
    Passphrase,
    /// For an admin.
    #[error(
        "`{SEALED}` on the key stick is not sealed with a passphrase; open it where an admin's key is: `age --decrypt --identity KEYS {SEALED} | ssh root@{name} bedplate-host host-key put`"
    )]
    Sealed {
        /// This host.
        name: String,
        /// What it is sealed with.
        #[source]
        source: AgeError,
    },
    /// What was sealed, or given.
    #[error("what should be the host's ssh key is none")]
    Key(#[from] KeyError),
    /// Another host's.
    #[error(
        "this is the key of another host: the repository has {wanted} for {name}, this one is for {found}"
    )]
    OtherHost {
        /// This host.
        name: String,
        /// Its recipient.
        wanted: String,
        /// That of the key.
        found: String,
    },
    /// The public half in the repository.
    #[error("could not read {}", .path.display())]
    Read {
        /// The public half, in the repository.
        path: PathBuf,
        /// What the kernel said when the public half was read.
        #[source]
        source: io::Error,
    },
    /// A half of the key could not be written to `/etc/ssh`.
    #[error("the host's key could not be written")]
    Write(#[from] WriteError),
}

/// Whether the machine has a key.
pub fn is_there(configuration: &Path) -> bool {
    configuration.join(HOST_KEY).exists()
}

/// Opens `sealed` with what `ask` gives and puts it in place, its private half last. A key that is
/// there is left alone unless it is to be replaced.
pub fn take(
    host: &HostFile,
    configuration: &Path,
    sealed: &Secret,
    replace: bool,
    ask: &mut dyn FnMut() -> Result<Secret, CommandError>,
) -> Result<Taken, TakeError> {
    if is_there(configuration) && !replace {
        return Ok(Taken::HasKey);
    }
    put(host, configuration, &open(host, sealed, ask)?)?;
    Ok(Taken::Written)
}

/// Puts an opened key in place, its private half last; one whose public half is not the
/// repository's is refused.
pub fn put(host: &HostFile, configuration: &Path, key: &Secret) -> Result<(), TakeError> {
    let found = ssh::identity(key)?.recipient();
    if let Some(wanted) = wanted(host, configuration)?
        && wanted != found
    {
        let (wanted, found) = (wanted.to_string(), found.to_string());
        return Err(TakeError::OtherHost { name: host.host.name.clone(), wanted, found });
    }
    let path = configuration.join(HOST_KEY);
    atomic::write(&path.with_extension("pub"), &ssh::public_line(key)?, 0o644)?;
    Ok(atomic::write_secret(&path, key)?)
}

fn open(
    host: &HostFile,
    sealed: &Secret,
    ask: &mut dyn FnMut() -> Result<Secret, CommandError>,
) -> Result<Secret, TakeError> {
    for _ in 0..TRIES {
        match age_file::open_with_passphrase(sealed.expose(), &ask().map_err(TakeError::Ask)?) {
            Ok(key) => return Ok(key),
            Err(AgeError::WrongPassphrase) => {}
            Err(source) => {
                return Err(TakeError::Sealed { name: host.host.name.clone(), source });
            }
        }
    }
    Err(TakeError::Passphrase)
}

/// The recipient that the repository names for this host, when it was prepared.
fn wanted(host: &HostFile, configuration: &Path) -> Result<Option<ssh::Recipient>, TakeError> {
    let directory = configuration.join("nixos").join(&host.flake.hosts).join(&host.host.name);
    let path = directory.join("ssh_host_ed25519_key.pub");
    match fs::read_to_string(&path) {
        Ok(line) => Ok(Some(ssh::recipient(&line)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TakeError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests;
