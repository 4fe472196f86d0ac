//! Which USB devices are key sticks of this machine: those plugged in, and those that were.
//!
//! A stick that is in the drawer now may be plugged in when a guest starts, and would be handed to
//! it then.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::atomic::{self, WriteError};

/// Vendor and product, four hexadecimal digits each.
pub type Device = (String, String);

/// Under `/var/lib/bedplate`.
const FILE: &str = "key-stick-devices.json";

/// The devices that are plugged in, by volume id, and those that were once. New ones are noted.
pub fn known<'a>(
    state: &Path,
    volumes: impl Iterator<Item = &'a str>,
) -> Result<Vec<Device>, WriteError> {
    remember(state, volumes.filter_map(device).collect())
}

/// A note that cannot be read counts as none: what is plugged in is still known.
fn remember(state: &Path, plugged: Vec<Device>) -> Result<Vec<Device>, WriteError> {
    let path = state.join(FILE);
    let noted = fs::read_to_string(&path).ok();
    let noted: BTreeSet<Device> =
        noted.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut all = noted.clone();
    all.extend(plugged);
    if all != noted {
        let text = serde_json::to_string(&all)
            .map_err(|error| WriteError { path: path.clone(), source: io::Error::from(error) })?;
        atomic::write(&path, &format!("{text}\n"), 0o644)?;
    }
    Ok(all.into_iter().collect())
}

/// Vendor and product of the USB device that a file system stands on.
fn device(volume_id: &str) -> Option<Device> {
    let node = fs::canonicalize(Path::new("/dev/disk/by-uuid").join(volume_id)).ok()?;
    let device = fs::canonicalize(Path::new("/sys/class/block").join(node.file_name()?)).ok()?;
    device.ancestors().find_map(|at| {
        let read = |name: &str| fs::read_to_string(at.join(name)).ok();
        let (vendor, product) = (read("idVendor")?, read("idProduct")?);
        Some((vendor.trim().to_owned(), product.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t35_a_key_stick_in_the_drawer_is_still_known() {
        let state = tempfile::tempdir().unwrap();
        let stick = || ("0781".to_owned(), "5583".to_owned());
        assert!(remember(state.path(), Vec::new()).unwrap().is_empty());
        assert!(!state.path().join(FILE).exists(), "nothing was learned, nothing is written");
        assert_eq!(remember(state.path(), vec![stick()]).unwrap(), [stick()]);
        assert_eq!(remember(state.path(), Vec::new()).unwrap(), [stick()]);
        let second = ("abcd".to_owned(), "0001".to_owned());
        assert_eq!(remember(state.path(), vec![second.clone()]).unwrap(), [stick(), second]);
        fs::write(state.path().join(FILE), "{").unwrap();
        assert_eq!(remember(state.path(), vec![stick()]).unwrap(), [stick()]);
    }
}
