//! Which files systemd-networkd has read last.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::ip::IpError;
use bedplate_tools::networkctl;

use super::{our_files, stamp, vlans};
use bedplate_tools::atomic::{self, WriteError};

/// Under the runtime directory: networkd forgets over a boot, and so does this.
const STAMP: &str = "network.applied";

/// Files that networkd was not made to read.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Our files.
    #[error("the files of the network could not be read")]
    Files(#[from] io::Error),
    /// `networkctl` did not make networkd read them.
    #[error("systemd-networkd did not read its files again")]
    Command(#[from] CommandError),
    /// The kernel.
    #[error("the bridges that are to keep VLANs apart, or no longer, do not yet")]
    Vlans(#[from] IpError),
    /// The note.
    #[error("what systemd-networkd has read could not be noted")]
    Write(#[from] WriteError),
}

/// The hash of what was read last; none since the boot.
pub(super) fn read(runtime: &Path) -> Option<String> {
    fs::read_to_string(runtime.join(STAMP)).ok()
}

/// Has networkd read the files that stand there now.
pub(super) fn apply(configuration: &Path, runtime: &Path) -> Result<(), ApplyError> {
    note(configuration, runtime, |files| {
        networkctl::reload()?;
        Ok(vlans::follow(files)?)
    })
}

fn note(
    configuration: &Path,
    runtime: &Path,
    reload: impl FnOnce(&BTreeMap<String, String>) -> Result<(), ApplyError>,
) -> Result<(), ApplyError> {
    // Taken before: what is written meanwhile counts as not read.
    let files = our_files(configuration)?;
    reload(&files)?;
    Ok(atomic::write(&runtime.join(STAMP), &stamp(&files), 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::files::{DIRECTORY, PREFIX};

    #[test]
    fn f10_what_is_written_while_networkd_reads_counts_as_not_read() {
        let (etc, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = etc.path().join(format!("{DIRECTORY}/{PREFIX}br0.network"));
        let standing = || stamp(&our_files(etc.path()).unwrap());
        atomic::write(&file, "first", 0o644).unwrap();
        assert_eq!(read(run.path()), None);
        note(etc.path(), run.path(), |_| Ok(())).unwrap();
        assert_eq!(read(run.path()), Some(standing()));
        let late = |_: &BTreeMap<String, String>| {
            atomic::write(&file, "second", 0o644).unwrap();
            Ok(())
        };
        note(etc.path(), run.path(), late).unwrap();
        assert_ne!(read(run.path()), Some(standing()));
    }
}
