//! Secrets of the repository, opened with the host's own ssh key.
//!
//! They are opened in memory, each time one is wanted. Those of `[secrets]` are written to files on
//! a tmpfs for the programs that want them; the others stand in none. `converge` opens all of them
//! first, so that one that does not open is told at once, and not at the first backup.

mod file;
mod kind;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_model::host::{HostFile, SecretReference};
use bedplate_secrets::age_file::{self, AgeError};
use bedplate_secrets::sops::{self, SopsError};
use bedplate_secrets::ssh::{self, Identity, KeyError};
use bedplate_tools::secret::Secret;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

pub use kind::Secrets;

/// The private ssh key of the machine, below `/etc`.
pub const HOST_KEY: &str = "ssh/ssh_host_ed25519_key";

/// Where the encrypted files and the key that opens them stand.
#[derive(Debug, Clone)]
pub struct Repository {
    directory: PathBuf,
    key: PathBuf,
}

/// A secret that was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The host's key.
    #[error("the host's key {} could not be read", .path.display())]
    HostKey {
        /// Path of the private key, `ssh/ssh_host_ed25519_key` below `/etc`.
        path: PathBuf,
        /// What the kernel said when the key was opened or read.
        #[source]
        source: io::Error,
    },
    /// The host's key is for everybody.
    #[error("the host's key {} can be read by others: run `chmod 600` on it, and make a new one", .0.display())]
    Exposed(PathBuf),
    /// The host's key.
    #[error("the host's key {} opens nothing", .path.display())]
    NoIdentity {
        /// Path of the private key that was read.
        path: PathBuf,
        /// Why there is no age key that belongs to it.
        #[source]
        source: KeyError,
    },
    /// The encrypted file.
    #[error("{} could not be read; is it committed in the repository?", .path.display())]
    Read {
        /// The encrypted file, in the host's directory of the repository.
        path: PathBuf,
        /// What the kernel said when the file was opened or read.
        #[source]
        source: io::Error,
    },
    /// Too long, or no text.
    #[error("{} is {what}", .path.display())]
    Unusable {
        /// The encrypted file that was read.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A file of age is damaged, or not encrypted for this host.
    #[error("the age file {} was not opened", .path.display())]
    Age {
        /// The file of age, in the host's directory of the repository.
        path: PathBuf,
        /// What age said when it was opened.
        #[source]
        source: AgeError,
    },
    /// A file of sops is damaged, not encrypted for this host, or lacks the value.
    #[error("the sops file {} was not opened", .path.display())]
    Sops {
        /// The file of sops, in the host's directory of the repository.
        path: PathBuf,
        /// What is wrong with the file, or with the value that was wanted.
        #[source]
        source: SopsError,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// On the stick or the machine.
    #[error("{0} does not lie in the repository")]
    Elsewhere(String),
}

impl Repository {
    /// The clone that enrolment left in `/etc/nixos`.
    pub fn of(host: &HostFile) -> Self {
        Self::below(Path::new("/etc"), host)
    }

    /// As [`Repository::of`], with another `/etc`.
    pub fn below(configuration: &Path, host: &HostFile) -> Self {
        Self {
            directory: configuration.join("nixos").join(&host.flake.hosts).join(&host.host.name),
            key: configuration.join(HOST_KEY),
        }
    }

    /// Opens a secret. The end of its line is left off, as people's editors put it there.
    pub fn open(&self, reference: &SecretReference) -> Result<Secret, SecretError> {
        let secret = match reference {
            SecretReference::Sops { file, key } => self.open_sops(file, key)?,
            SecretReference::Age(file) => {
                let path = self.directory.join(file);
                let bytes = self.read(file)?;
                age_file::open(&bytes, &[self.identity()?])
                    .map_err(|source| SecretError::Age { path, source })?
            }
            elsewhere => return Err(SecretError::Elsewhere(elsewhere.to_string())),
        };
        let bytes = secret.expose();
        let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = line.unwrap_or(bytes);
        if line.is_empty() {
            return Err(SecretError::Empty(reference.to_string()));
        }
        Ok(Secret::new(line.to_vec()))
    }

    /// Whether one key alone opens a secret. Where the machine opens it, that is its own: it is gone
    /// with the OS disk.
    pub fn is_for_one(&self, reference: &SecretReference) -> Result<bool, SecretError> {
        let openers = match reference {
            SecretReference::Sops { file, .. } => {
                let (path, text) = self.text(file)?;
                sops::openers(&text).map_err(|source| SecretError::Sops { path, source })?
            }
            SecretReference::Age(file) => {
                let path = self.directory.join(file);
                age_file::openers(&self.read(file)?)
                    .map_err(|source| SecretError::Age { path, source })?
            }
            elsewhere => return Err(SecretError::Elsewhere(elsewhere.to_string())),
        };
        Ok(openers == 1)
    }

    fn text(&self, file: &str) -> Result<(PathBuf, String), SecretError> {
        let path = self.directory.join(file);
        match String::from_utf8(self.read(file)?) {
            Ok(text) => Ok((path, text)),
            Err(_) => Err(SecretError::Unusable { path, what: "no text" }),
        }
    }

    fn open_sops(&self, file: &str, key: &str) -> Result<Secret, SecretError> {
        let (path, text) = self.text(file)?;
        let failed = |source| SecretError::Sops { path: path.clone(), source };
        let opened = sops::open(&text, &[self.identity()?]).map_err(failed)?;
        opened.value(key).cloned().map_err(failed)
    }

    fn identity(&self) -> Result<Identity, SecretError> {
        let path = || self.key.clone();
        let failed = |source| SecretError::HostKey { path: path(), source };
        let file = File::open(&self.key).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Exposed(path()));
        }
        let key = Secret::new(limited(file).map_err(failed)?);
        ssh::identity(&key).map_err(|source| SecretError::NoIdentity { path: path(), source })
    }

    /// Reads an encrypted file; nothing outside the host's directory, whatever links say (T15).
    fn read(&self, file: &str) -> Result<Vec<u8>, SecretError> {
        let path = self.directory.join(file);
        let read = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let stay = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let directory = File::open(&self.directory)?;
            limited(File::from(openat2(directory, file, flags, Mode::empty(), stay)?))
        };
        let bytes = read().map_err(|source| SecretError::Read { path: path.clone(), source })?;
        if bytes.len() > bedplate_secrets::LIMIT {
            return Err(SecretError::Unusable { path, what: "too long" });
        }
        Ok(bytes)
    }
}

/// One byte more than allowed, so that what is too long is seen.
fn limited(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(bedplate_secrets::LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
