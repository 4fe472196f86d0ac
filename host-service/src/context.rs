//! What every kind of resource is given: the intent and where things stand on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_model::host::HostFile;

use crate::intent::{self, IntentError};
use crate::mounts::Mounts;

/// What is mounted, by the kernel.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The intent, the mounts of now and the directories to work in.
#[derive(Debug, Clone)]
pub struct Context {
    /// What the machine should be.
    pub intent: HostFile,
    /// What is mounted.
    pub mounts: Mounts,
    /// `/etc`: what is written here is read by other programs of the machine.
    pub configuration: PathBuf,
    /// `/run/bedplate`: gone at the next boot.
    pub runtime: PathBuf,
    /// `/var/lib/bedplate`: kept.
    pub state: PathBuf,
}

impl Context {
    /// Reads the intent from `host_file` and the mounts of this machine.
    pub fn read(host_file: &Path) -> Result<Self, IntentError> {
        let intent = intent::read(host_file)?;
        let mounts = fs::read_to_string(MOUNTS)
            .map_err(|source| IntentError::Read { path: MOUNTS.into(), source })?;
        let mounts = Mounts::parse(&mounts);
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
