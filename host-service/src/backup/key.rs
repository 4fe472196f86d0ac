//! The password of a repository, from a key stick.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_spec::host::{HostFile, SecretReference};
use bedplate_tools::block;
use bedplate_tools::mount::{self, Access, Mount, MountError};
use bedplate_tools::secret::Secret;
use bedplate_tools::signature::Signature;

/// No password is longer.
const LIMIT: u64 = 4096;

/// A password that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No stick.
    #[error("no key stick is plugged in (looked for the volume {0})")]
    NoStick(String),
    /// Not on the stick.
    #[error("the key stick {volume} has no usable file {path}")]
    NoFile {
        /// Stick.
        volume: String,
        /// File.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stick cannot be read.
    #[error("the key stick cannot be mounted")]
    Mount(#[from] MountError),
    /// Neither can anything else.
    #[error("the disks of this machine cannot be listed")]
    List(#[source] io::Error),
}

/// Reads the secret; the stick is mounted read-only for as long as that takes.
pub fn read(
    intent: &HostFile,
    reference: &SecretReference,
    runtime: &Path,
) -> Result<Secret, KeyError> {
    let SecretReference::Stick(path) = reference;
    let blocks = block::disks().map_err(KeyError::List)?;
    let mut missing = Vec::new();
    let mut last = None;
    for stick in &intent.unlock.sticks {
        let wanted = Signature::Fat { volume_id: stick.volume_id.clone() };
        let Some(found) = blocks.iter().find(|one| one.signature().as_ref() == Some(&wanted))
        else {
            missing.push(stick.volume_id.clone());
            continue;
        };
        match read_from(&found.node, path, &stick.volume_id, runtime) {
            Ok(secret) => return Ok(secret),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| KeyError::NoStick(missing.join(", "))))
}

fn read_from(node: &Path, path: &str, volume: &str, runtime: &Path) -> Result<Secret, KeyError> {
    let no_file =
        |source| KeyError::NoFile { volume: volume.to_owned(), path: path.to_owned(), source };
    fs::create_dir_all(runtime).map_err(no_file)?;
    let at = tempfile::Builder::new().prefix("stick-").tempdir_in(runtime).map_err(no_file)?;
    let stick = Mount {
        source: &node.to_string_lossy(),
        target: at.path(),
        kind: "vfat",
        access: Access::ReadOnly,
        options: "umask=0077",
    };
    stick.mount_restricted()?;
    let secret = read_secret(&at.path().join(path));
    mount::unmount(at.path())?;
    secret.map_err(no_file)
}

fn read_secret(path: &Path) -> io::Result<Secret> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() || found.len() == 0 || found.len() > LIMIT {
        let why = "it is empty, too long or no plain file";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Secret::new(fs::read(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_an_empty_file_and_a_link_are_no_password() {
        let stick = tempfile::tempdir().unwrap();
        let path = stick.path().join("restic");
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "").unwrap();
        assert!(read_secret(&path).is_err());
        fs::write(&path, "secret").unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), b"secret");
        let link = stick.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_secret(&link).is_err());
    }
}
