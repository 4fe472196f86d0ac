//! Pools: unlocking the members that are there and mounting what they make.
//!
//! Pools stand in no fstab: systemd would wait for every member of a file system, and a
//! lost disk would hang the boot.

mod change;
mod condition;
mod error;
mod facts;
mod faults;
mod history;
mod key;
mod member;
mod mounting;
mod open;
mod record;
mod refused;
mod resync;
mod status;
pub mod task;
mod tend;

use bedplate_disks::pool_fs::{self, PoolFileSystem};
use bedplate_model::host::Pool;
use std::error::Error;
use std::fmt;
use std::path::Path;

use bedplate_model::host::HostFile;
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::name::Role;
use bedplate_planner::pool_history::Word;
use uuid::Uuid;

use bedplate_platform::intent;

pub use change::ChangeError;
pub use condition::Condition;
pub use error::PoolError;
pub use open::{Opened, Patience, open};
pub use status::{Health, MemberState, MemberStatus, Resyncing, Status, compared, status};
pub use tend::tend;

pub(crate) use error::file;

impl fmt::Display for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, mount, already, degraded, missing, tried, .. } = self;
        for line in tried {
            writeln!(formatter, "pool {name}: {line}")?;
        }
        let how = if *already { "was mounted already" } else { "is mounted" };
        write!(formatter, "pool {name}: {how} at {mount}")?;
        match (degraded, missing.as_slice()) {
            (false, _) => Ok(()),
            (true, []) => write!(formatter, ", DEGRADED"),
            (true, missing) => write!(formatter, ", DEGRADED without {}", missing.join(", ")),
        }
    }
}

/// The command `pool open`.
pub fn open_command(host_file: &Path, name: &str, word: &Word) -> Result<Opened, Box<dyn Error>> {
    let host = intent::read(host_file)?;
    let opened = open(&host, name, word, Patience::Boot);
    key::settle(&host, name)?;
    Ok(opened?)
}

/// The command `pool settled`, after `pool open` however it ended: killed, or with a panic, it could not
/// say itself that it asks for no key any more.
pub fn settled_command(host_file: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    match intent::read(host_file) {
        Ok(host) => Ok(key::settle(&host, name)?),
        Err(error) => {
            // Nobody can say which pools there are, and none of them opens.
            key::forget()?;
            Err(error.into())
        }
    }
}

/// What stage 1 left for the pools goes where there is none.
pub fn forget_key_if_unneeded(host: &HostFile) -> Result<(), PoolError> {
    key::forget_if_unneeded(host)
}

/// The command `pool status`.
pub fn status_command(host_file: &Path) -> Result<Vec<Status>, Box<dyn Error>> {
    Ok(status(&intent::read(host_file)?)?)
}

/// The file system of the pool `name`.
pub(crate) fn file_system(host: &HostFile, name: &str) -> &'static dyn PoolFileSystem {
    pool_fs::of(host.pools.get(name).map(Pool::file_system).unwrap_or_default())
}

/// By which the file system of the pool `name` is known.
pub(crate) fn id(host: &HostFile, name: &str) -> Uuid {
    derive(host.host.id, Purpose::FileSystem, name, 0)
}

/// How often the disk of a role was replaced.
pub fn epoch(host: &HostFile, role: &Role) -> Result<u32, PoolError> {
    let pool = host.pools.iter().find(|(_, pool)| pool.disks.iter().any(|one| one == role));
    let Some((name, _)) = pool else { return Ok(0) };
    Ok(record::Record::read(name)?.epochs.get(role).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests;
