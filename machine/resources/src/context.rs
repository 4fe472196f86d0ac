//! What every kind of resource is given: the intent and where things stand on this machine.

use std::path::PathBuf;

use bedplate_model::host::HostFile;

use bedplate_tools::mounts::Mounts;

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
    if mounts.is_at(&found.mount, found.file_system().name()) {
        Ok(&found.mount)
    } else {
        Err(format!("the pool `{pool}` is not mounted at {}", found.mount))
    }
}
