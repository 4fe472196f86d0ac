//! The password of a repository, from a key stick or from the flake.

use std::io;
use std::path::Path;

use bedplate_keystick::{self as keystick, Mounted, StickError};
use bedplate_model::host::{HostFile, SecretReference};
use bedplate_tools::block;
use bedplate_tools::mount::Access;
use bedplate_tools::secret::Secret;

use crate::secret::{Repository, SecretError};
use bedplate_resources::context::Context;

/// No password is longer.
const LIMIT: u64 = 4096;

/// A password that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No stick.
    #[error("no key stick is plugged in (looked for the volume {0})")]
    NoStick(String),
    /// Not on the stick.
    #[error("the key stick {volume} gives no secret")]
    Stick {
        /// Volume id of the stick in `host.toml`, such as `1A2B-3C4D`.
        volume: String,
        /// What is wrong with the stick, or with the file on it.
        #[source]
        source: StickError,
    },
    /// Not in the flake.
    #[error("the secret could not be opened")]
    Secret(#[from] SecretError),
    /// Not a place for a password.
    #[error("a password cannot be {0}")]
    Elsewhere(String),
    /// Neither can anything else.
    #[error("the disks of this machine cannot be listed")]
    List(#[source] io::Error),
}

impl KeyError {
    /// Whether there simply is none: no stick, or no such file on it.
    pub fn is_absent(&self) -> bool {
        let missing = |source: &StickError| matches!(source, StickError::Missing { .. });
        match self {
            Self::NoStick(_) => true,
            Self::Stick { source, .. } => missing(source),
            _ => false,
        }
    }
}

/// Reads the secret that `reference` names.
pub fn read(context: &Context, reference: &SecretReference) -> Result<Secret, KeyError> {
    match reference {
        SecretReference::Stick(path) | SecretReference::Prompt(path) => {
            from_stick(&context.intent, path, &context.runtime)
        }
        SecretReference::Sops { .. } | SecretReference::Age(_) => {
            Ok(Repository::below(&context.configuration, &context.intent).open(reference)?)
        }
        SecretReference::File(path) => Err(KeyError::Elsewhere(path.clone())),
    }
}

/// The stick is mounted read-only for as long as reading takes.
pub(crate) fn from_stick(
    intent: &HostFile,
    path: &str,
    runtime: &Path,
) -> Result<Secret, KeyError> {
    let blocks = block::disks().map_err(KeyError::List)?;
    let mut missing = Vec::new();
    let mut last = None;
    for stick in &intent.unlock.sticks {
        let volume = stick.volume_id.as_str();
        let Some(found) = blocks.iter().find(|one| keystick::is_stick(one, [volume])) else {
            missing.push(volume.to_owned());
            continue;
        };
        let at = runtime.join(format!("stick-{}", std::process::id()));
        match keystick::read_from(found, &at, path, LIMIT) {
            Ok(secret) => return Ok(secret),
            Err(source) => last = Some(KeyError::Stick { volume: volume.to_owned(), source }),
        }
    }
    Err(last.unwrap_or_else(|| KeyError::NoStick(missing.join(", "))))
}

/// Where a stick notes that a repository was made or used.
fn note_path(intent: &HostFile, name: &str) -> String {
    format!("bedplate/backups/{}-{name}", intent.host.name)
}

/// Whether a stick knows the repository of the backup `name`; none when no stick is plugged in.
pub fn is_noted(
    intent: &HostFile,
    name: &str,
    repository: &str,
    runtime: &Path,
) -> Result<Option<bool>, KeyError> {
    match from_stick(intent, &note_path(intent, name), runtime) {
        Ok(noted) => Ok(Some(noted.expose().trim_ascii() == repository.as_bytes())),
        Err(KeyError::NoStick(_)) => Ok(None),
        Err(absent) if absent.is_absent() => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

/// Notes the repository on every stick that is plugged in.
pub fn note(
    intent: &HostFile,
    name: &str,
    repository: &str,
    runtime: &Path,
) -> Result<(), KeyError> {
    let blocks = block::disks().map_err(KeyError::List)?;
    for stick in &intent.unlock.sticks {
        let volume = stick.volume_id.as_str();
        let Some(found) = blocks.iter().find(|one| keystick::is_stick(one, [volume])) else {
            continue;
        };
        let at = runtime.join(format!("stick-{}", std::process::id()));
        let failed = |source| KeyError::Stick { volume: volume.to_owned(), source };
        let mounted = Mounted::mount(&found.node, &at, Access::ReadWrite).map_err(failed)?;
        let line = format!("{repository}\n");
        keystick::write(mounted.path(), &note_path(intent, name), line.as_bytes())
            .map_err(failed)?;
    }
    Ok(())
}
