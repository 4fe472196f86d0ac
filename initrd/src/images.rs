//! The images of the medium, opened through dm-verity.

use std::path::{Path, PathBuf};

use bedplate_spec::boot::Image;
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
        kind: "squashfs",
        access: Access::ReadOnly,
        options: "",
    }
    .mount()?;
    Ok(target)
}
