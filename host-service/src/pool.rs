//! Pools: unlocking the members that are there and mounting what they make.
//!
//! Pools stand in no fstab: systemd would wait for every member of a btrfs file system, and a
//! lost disk would hang the boot.

mod error;
mod key;
mod member;
mod open;
mod record;
mod status;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use bedplate_spec::document;
use bedplate_spec::host::HostFile;

pub use error::PoolError;
pub use open::{Opened, open};
pub use status::{Health, MemberState, MemberStatus, Status, status};

pub(crate) use error::file;
use status::is_mounted;

impl fmt::Display for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, mount, already, missing, .. } = self;
        let how = if *already { "was mounted already" } else { "is mounted" };
        write!(formatter, "pool {name}: {how} at {mount}")?;
        if missing.is_empty() {
            Ok(())
        } else {
            write!(formatter, ", DEGRADED without {}", missing.join(", "))
        }
    }
}

/// The command `pool open`.
pub fn open_command(host_file: &Path, name: &str) -> Result<Opened, Box<dyn Error>> {
    let host = read_host(host_file)?;
    let opened = open(&host, name)?;
    forget_passphrase(&host)?;
    Ok(opened)
}

/// The command `pool status`.
pub fn status_command(host_file: &Path) -> Result<Vec<Status>, Box<dyn Error>> {
    Ok(status(&read_host(host_file)?)?)
}

fn read_host(path: &Path) -> Result<HostFile, PoolError> {
    let text = fs::read_to_string(path).map_err(file("read", path))?;
    document::parse(&text, "host.toml").map_err(|problems| PoolError::Document {
        path: path.to_owned(),
        problems: problems.to_string(),
    })
}

/// A passphrase typed in stage 1 lives until the last pool is open.
fn forget_passphrase(host: &HostFile) -> Result<(), PoolError> {
    for pool in host.pools.values() {
        if !is_mounted(&pool.mount)? {
            return Ok(());
        }
    }
    let path = Path::new(key::PASSPHRASE);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
