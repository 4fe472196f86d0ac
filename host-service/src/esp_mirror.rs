//! The copy of the ESP on a pool's disk that was replaced.
//!
//! The unit of the platform names the partition of the first disk of the role: what came with a
//! later one has another GUID, so that a disk that was replaced and comes back is not taken for it.
//! The epoch is known on the machine only, so the unit is corrected in `/run`: at every boot before
//! systemd, and when the disk is replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bedplate_model::host::HostFile;
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::{BOOT, BOOT_MIRROR};
use bedplate_tools::command::CommandError;
use bedplate_tools::systemctl;

use crate::etc::{MIRROR_UNIT, partition_unit, patience};
use bedplate_platform::generation::{self, GenerationError};
use bedplate_tools::atomic::{self, WriteError};

/// Where units stand until the next boot.
pub const RUNTIME_UNITS: &str = "/run/systemd/system";

/// The copy is not in step.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The unit.
    #[error("could not correct the unit that mounts the copy of the ESP")]
    Unit(#[from] WriteError),
    /// Mounting it.
    #[error("could not mount the copy of the ESP")]
    Mount(#[from] CommandError),
    /// Its files.
    #[error("could not bring the copy of the ESP into step")]
    Copy(#[from] GenerationError),
}

/// Corrects the unit for the disk of `role` that carries the copy now, the one of `epoch`; nothing while it is
/// the first.
pub fn follow(units: &Path, host: &HostFile, role: &str, epoch: u32) -> Result<(), MirrorError> {
    if epoch > 0 {
        correct(units, &derive(host.host.id, Purpose::GptEsp, role, epoch).to_string())?;
    }
    Ok(())
}

fn correct(units: &Path, guid: &str) -> Result<(), WriteError> {
    let device = partition_unit(guid);
    let what = format!("[Mount]\nWhat=/dev/disk/by-partuuid/{guid}\n");
    atomic::write(&units.join(format!("{MIRROR_UNIT}.d/20-replaced.conf")), &what, 0o644)?;
    atomic::write(&units.join(format!("{device}.d/10-bedplate.conf")), &patience(), 0o644)?;
    let wants = units.join(format!("{device}.wants"));
    let link = wants.join(MIRROR_UNIT);
    let target = PathBuf::from("/etc/systemd/system").join(MIRROR_UNIT);
    let linked = fs::create_dir_all(&wants).and_then(|()| match fs::symlink_metadata(&link) {
        Ok(_) => Ok(()),
        Err(_) => symlink(target, &link),
    });
    linked.map_err(|source| WriteError { path: link, source })
}

/// Mounts the copy on the disk that carries it now, and makes it what the ESP is.
pub fn refresh(host: &HostFile, role: &str, epoch: u32) -> Result<(), MirrorError> {
    follow(Path::new(RUNTIME_UNITS), host, role, epoch)?;
    systemctl::reload_units()?;
    systemctl::restart(MIRROR_UNIT)?;
    Ok(generation::copy(Path::new(BOOT), Path::new(BOOT_MIRROR))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_follows_the_disk_and_can_be_corrected_again() {
        let units = tempfile::tempdir().unwrap();
        for guid in ["11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"]
        {
            correct(units.path(), guid).unwrap();
            correct(units.path(), guid).unwrap();
            let drop_in = units.path().join("boot\\x2dmirror.mount.d/20-replaced.conf");
            let text = fs::read_to_string(drop_in).unwrap();
            assert_eq!(text, format!("[Mount]\nWhat=/dev/disk/by-partuuid/{guid}\n"));
            let device = format!("dev-disk-by\\x2dpartuuid-{}.device", guid.replace('-', "\\x2d"));
            let link = units.path().join(format!("{device}.wants/boot\\x2dmirror.mount"));
            let target = fs::read_link(link).unwrap();
            assert_eq!(target, Path::new("/etc/systemd/system/boot\\x2dmirror.mount"));
        }
    }
}
