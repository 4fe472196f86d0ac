//! What every kind of resource is given: the intent and where things stand on this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_spec::document;
use bedplate_spec::host::HostFile;

use crate::mounts::Mounts;

/// Where the platform puts the intent.
pub const HOST_FILE: &str = "/etc/bedplate/host.toml";

/// The intent could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// A file could not be read.
    #[error("could not read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The document has mistakes.
    #[error("{} has mistakes:\n{problems}", .path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// All of them.
        problems: String,
    },
}

/// The intent, the mounts of now and the directories to work in.
#[derive(Debug, Clone)]
pub struct Context {
    /// What the machine should be.
    pub intent: HostFile,
    /// What is mounted.
    pub mounts: Mounts,
    /// `/etc`.
    pub configuration: PathBuf,
    /// `/run/bedplate`: gone at the next boot.
    pub runtime: PathBuf,
    /// `/var/lib/bedplate`: kept.
    pub state: PathBuf,
}

impl Context {
    /// Reads the intent from `host_file` and the mounts of this machine.
    pub fn read(host_file: &Path) -> Result<Self, IntentError> {
        let read = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|source| IntentError::Read { path: path.to_owned(), source })
        };
        let text = read(host_file)?;
        let name = host_file.display().to_string();
        let intent = document::parse(&text, &name).map_err(|problems| IntentError::Document {
            path: host_file.to_owned(),
            problems: problems.to_string(),
        })?;
        let mounts = Mounts::parse(&read(Path::new("/proc/self/mountinfo"))?);
        Ok(Self {
            intent,
            mounts,
            configuration: "/etc".into(),
            runtime: "/run/bedplate".into(),
            state: "/var/lib/bedplate".into(),
        })
    }

    /// The mount point of `pool` when it is mounted; why not, otherwise.
    pub fn pool_mount(&self, pool: &str) -> Result<&str, String> {
        pool_mount(&self.intent, &self.mounts, pool)
    }
}

/// As [`Context::pool_mount`].
pub fn pool_mount<'a>(
    intent: &'a HostFile,
    mounts: &Mounts,
    pool: &str,
) -> Result<&'a str, String> {
    let Some(found) = intent.pools.get(pool) else {
        return Err(format!("there is no pool `{pool}`"));
    };
    if mounts.is_btrfs(&found.mount) {
        Ok(&found.mount)
    } else {
        Err(format!("the pool `{pool}` is not mounted at {}", found.mount))
    }
}
