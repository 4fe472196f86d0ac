//! Where secrets come from and where they go.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a secret comes from; the secret itself never stands in `host.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// A file on the first key stick, relative to its root. Generated at install if absent.
    Stick(String),
    /// As [`Self::Stick`], but typed by somebody, when the stick is made or at install, not
    /// generated.
    Prompt(String),
    /// A value in a sops file of the repository, encrypted for the host's ssh key.
    Sops {
        /// A YAML file, relative to the host's directory.
        file: String,
        /// Names between `/`, as sops-nix writes them.
        key: String,
    },
    /// An age file of the repository, encrypted for the host's ssh key; relative to the host's
    /// directory.
    Age(String),
    /// A file on the machine that only root can read.
    File(String),
}

impl fmt::Display for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stick(path) | Self::Prompt(path) => write!(formatter, "{path} on the key stick"),
            Self::Sops { file, key } => write!(formatter, "`{key}` in the sops file {file}"),
            Self::Age(file) => write!(formatter, "the age file {file}"),
            Self::File(path) => formatter.write_str(path),
        }
    }
}

/// `[secrets.<name>]`: a file in memory, `/run/bedplate/secrets/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// Where in the repository it lies encrypted.
    pub source: SecretReference,
    /// The user who may read it.
    pub owner: String,
    /// A group that may read it too.
    pub group: Option<String>,
}
