//! The images of the medium, opened through dm-verity.

use std::path::{Path, PathBuf};

use bedplate_formats::boot::{Image, Inner};
use bedplate_tools::mount::{Access, Mount};

use crate::early::make_directory;
use crate::error::Error;
use crate::loop_device;

/// Where images are mounted by name.
pub(crate) const IMAGES: &str = "/run/bedplate";

/// Mounts an image at `/run/bedplate/<name>`.
pub(crate) fn mount(image: &Image, medium: &Path) -> Result<PathBuf, Error> {
    let file = medium.join(image.file.trim_start_matches('/'));
    let device = loop_device::attach(&file)?;
    let name = format!("bedplate-{}", image.name);
    let mapped = bedplate_luks::open_verity(&device, image.hash_offset, &image.root_hash, &name)?;
    let target = Path::new(IMAGES).join(&image.name);
    make_directory(&target)?;
    let source = mapped.to_string_lossy();
    Mount {
        source: &source,
        target: &target,
        kind: &image.kind,
        access: Access::ReadOnly,
        options: "",
    }
    .mount()?;
    if let Some(inner) = &image.inner {
        mount_inner(inner, &target)?;
    }
    Ok(target)
}

/// Mounts the subvolume of a btrfs file system that is a file of the mounted image.
fn mount_inner(inner: &Inner, image: &Path) -> Result<(), Error> {
    let device = loop_device::attach(&image.join(&inner.file))?;
    let target = image.join(&inner.subvolume);
    Ok(Mount {
        source: &device.to_string_lossy(),
        target: &target,
        kind: "btrfs",
        access: Access::ReadOnly,
        options: &format!("subvol={}", inner.subvolume),
    }
    .mount()?)
}
