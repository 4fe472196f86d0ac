//! The variables of a guest's firmware: whether Secure Boot can stand on them.
//!
//! Without a platform key the firmware is in its setup mode, and starts whatever it finds (UEFI
//! Specification 2.10, section 32.3). libvirt makes variables once, from a template, and keeps them: a
//! guest that is to start securely from now on has those of before.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::model::Model;

/// Where libvirt keeps variables of the system's machines, as long as a definition names no other
/// place.
const DIRECTORY: &str = "/var/lib/libvirt/qemu/nvram";
/// More than any firmware has.
const LONGEST: u64 = 16 << 20;
/// `_FVH` of a firmware volume (UEFI Platform Initialization Specification 1.8, volume 3, section
/// 3.2.1), and where it stands.
const SIGNATURE: (usize, &[u8]) = (40, b"_FVH");
/// `EFI_GLOBAL_VARIABLE` as it is stored, and `PK` in UTF-16 with its end.
const PLATFORM_KEY: [u8; 22] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b,
    0x8c, //
    b'P', 0, b'K', 0, 0, 0,
];
/// How far before its vendor a variable begins: `AUTHENTICATED_VARIABLE_HEADER` of EDK II's
/// `VariableFormat.h`.
const HEADER: usize = 44;
/// `VARIABLE_DATA`, with which it begins.
const BEGIN: [u8; 2] = [0xaa, 0x55];
/// `VAR_ADDED`, and with `VAR_IN_DELETED_TRANSITION`: it counts until its successor does.
const COUNTS: [u8; 2] = [0x3f, 0x3e];

/// Where the variables of the machine `name` are.
pub fn place(name: &str, models: [Option<&Model>; 2]) -> PathBuf {
    let named = models.into_iter().flatten().find_map(|model| model.variables.clone());
    named.unwrap_or_else(|| Path::new(DIRECTORY).join(format!("{name}_VARS.fd")))
}

/// Whether there are variables at `path` that carry no key. Those that are kept in a form that cannot be
/// read here are not said to be without.
pub fn are_without_key(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    let (place, signature) = SIGNATURE;
    let is_volume = bytes.get(place..).is_some_and(|rest| rest.starts_with(signature));
    Ok(is_volume && !has_key(&bytes))
}

fn has_key(bytes: &[u8]) -> bool {
    let mut places = bytes.windows(PLATFORM_KEY.len()).enumerate();
    places.any(|(place, window)| {
        let header = place.checked_sub(HEADER).and_then(|start| bytes.get(start..place));
        window == PLATFORM_KEY
            && header.is_some_and(|header| {
                header.starts_with(&BEGIN)
                    && header.get(2).is_some_and(|state| COUNTS.contains(state))
            })
    })
}

/// Takes the variables away, so that libvirt makes new ones at the next start; what they were is kept
/// in `directory`. Returns where; none when there were none.
pub fn put_away(path: &Path, directory: &Path) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let kept = (1..).map(|number| directory.join(format!("firmware-variables.{number}")));
    let mut kept = kept.filter(|place| fs::symlink_metadata(place).is_err());
    let Some(place) = kept.next() else { return Ok(None) };
    fs::copy(path, &place)?;
    File::open(&place)?.sync_all()?;
    File::open(directory)?.sync_all()?;
    fs::remove_file(path)?;
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with a variable of this vendor and name, in this state.
    fn store(vendor_and_name: &[u8], state: u8) -> Vec<u8> {
        let mut store = vec![0xff; 4096];
        store[40..44].copy_from_slice(b"_FVH");
        store[100..102].copy_from_slice(&BEGIN);
        store[102] = state;
        store[144..144 + vendor_and_name.len()].copy_from_slice(vendor_and_name);
        store
    }

    #[test]
    fn a_key_that_counts_is_told_from_one_that_was_removed() {
        assert!(has_key(&store(&PLATFORM_KEY, 0x3f)));
        assert!(!has_key(&store(&PLATFORM_KEY, 0x3c)), "deleted");
        let mut other = PLATFORM_KEY;
        other[18] = b'X';
        assert!(!has_key(&store(&other, 0x3f)));
        assert!(!has_key(&PLATFORM_KEY), "no header before it");
    }

    #[test]
    fn the_variables_that_ovmf_comes_with_have_keys_or_not() {
        let place = Path::new("/usr/share/OVMF");
        let (bare, keyed) = (place.join("OVMF_VARS_4M.fd"), place.join("OVMF_VARS_4M.ms.fd"));
        assert!(bare.exists() && keyed.exists(), "NOT TESTED: install ovmf");
        assert!(are_without_key(&bare).unwrap());
        assert!(!are_without_key(&keyed).unwrap());
        assert!(!are_without_key(&place.join("none")).unwrap());
    }

    #[test]
    fn variables_that_are_taken_away_are_kept_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("haos_VARS.fd");
        assert_eq!(put_away(&path, directory.path()).unwrap(), None);
        for number in 1..3 {
            fs::write(&path, format!("{number}")).unwrap();
            let kept = put_away(&path, directory.path()).unwrap().unwrap();
            assert_eq!(fs::read_to_string(kept).unwrap(), format!("{number}"));
            assert!(!path.exists());
        }
    }
}
