//! The key stick.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

use bedplate_tools::block::Block;
use bedplate_tools::mount::{self, Access, Mount};
use bedplate_tools::signature::Signature;
use zeroize::Zeroizing;

use crate::early::make_directory;
use crate::error::Error;

/// Where a stick is mounted for a moment.
const STICK: &str = "/run/bedplate/stick";

/// A keyfile is at most this long.
const KEY_LIMIT: u64 = 64 << 10;

/// Whether the device is a FAT volume with one of these volume ids.
pub(crate) fn is_stick(device: &Block, volume_ids: &[String]) -> bool {
    match device.signature() {
        Some(Signature::Fat { volume_id }) => {
            volume_ids.iter().any(|wanted| wanted.eq_ignore_ascii_case(&volume_id))
        }
        _ => false,
    }
}

/// Reads the keyfile; nothing stays mounted.
pub(crate) fn read_key(device: &Block, keyfile: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let target = Path::new(STICK);
    let file = target.join(inside(keyfile)?);
    make_directory(target)?;
    let source = device.node.to_string_lossy();
    Mount { source: &source, target, kind: "vfat", access: Access::ReadOnly, options: "" }
        .mount_restricted()?;
    let mut key = Zeroizing::new(Vec::new());
    let read = File::open(&file).and_then(|file| file.take(KEY_LIMIT).read_to_end(&mut key));
    mount::unmount(target)?;
    read.map_err(|source| Error::file("read the keyfile", &file, source))?;
    Ok(key)
}

/// The path relative to the stick; nothing that leaves it.
fn inside(keyfile: &str) -> Result<&Path, Error> {
    let relative = Path::new(keyfile.trim_start_matches('/'));
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && relative.components().next().is_some() {
        return Ok(relative);
    }
    Err(Error::BadPath { path: keyfile.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_a_keyfile_stays_on_its_stick() {
        assert_eq!(inside("/keys/hv.key").unwrap(), Path::new("keys/hv.key"));
        for wrong in ["", "/", "../etc/shadow", "/keys/../../etc/shadow"] {
            assert!(inside(wrong).is_err(), "{wrong}");
        }
    }
}
