//! Sticks among the block devices, mounted for as long as they are needed.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_tools::block::Block;
use bedplate_tools::mount::{self, Access, Mount};
use bedplate_tools::secret::Secret;
use bedplate_tools::signature::Signature;

use crate::{Result, StickError, file};

/// Whether the device is a FAT volume with one of these volume ids.
pub fn is_stick<'a>(device: &Block, volume_ids: impl IntoIterator<Item = &'a str>) -> bool {
    match device.signature() {
        Some(Signature::Fat { volume_id }) => {
            volume_ids.into_iter().any(|wanted| wanted.eq_ignore_ascii_case(&volume_id))
        }
        _ => false,
    }
}

/// A stick that is mounted; dropping it unmounts it.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts `node` at the directory `at`, which is made. Nothing on it can be executed.
    pub fn mount(node: &Path, at: &Path, access: Access) -> Result<Self> {
        fs::create_dir_all(at).map_err(StickError::volume("make the stick's mount point"))?;
        let source = node.to_string_lossy();
        Mount { source: &source, target: at, kind: "vfat", access, options: "umask=0077" }
            .mount_restricted()?;
        Ok(Self { at: at.to_owned() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What cannot be unmounted was read all the same; the directory is empty then.
        let _ = mount::unmount(&self.at).map(|()| fs::remove_dir(&self.at));
    }
}

/// Reads one file of a stick; it is mounted at `at`, read-only, for as long as that takes.
pub fn read_from(device: &Block, at: &Path, path: &str, limit: u64) -> Result<Secret> {
    crate::layout::inside(path)?;
    let stick = Mounted::mount(&device.node, at, Access::ReadOnly)?;
    file::read(stick.path(), path, limit)
}
