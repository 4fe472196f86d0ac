//! Disks that carry something into a machine: images, and programs that no package of the machine has.

use std::fs;
use std::path::Path;

use bedplate_qemu_harness::machine::{Disk, DiskKind, Format};
use bedplate_tools::command::CommandError;
use bedplate_tools::squashfs::{self, Compression};

use crate::failure::{Failure, file};

/// The serial number of such a disk.
pub fn serial(role: &str) -> String {
    format!("BP{}0001", role.to_uppercase())
}

/// Where the machine finds such a disk.
pub fn by_id(role: &str) -> String {
    format!("/dev/disk/by-id/virtio-{}", serial(role))
}

/// A disk with this image, which is never written to.
pub fn image(role: &str, image: &Path) -> Result<Disk, Failure> {
    let size = fs::metadata(image).map_err(file("look at", image))?.len();
    Ok(Disk {
        role: role.to_owned(),
        kind: DiskKind::VirtioBlk,
        serial: serial(role),
        size,
        file: image.to_owned(),
        format: Format::Raw,
        read_only: true,
        boot_index: None,
    })
}

/// A disk with a squashfs that holds the program under the name `role`; made in `directory`.
pub fn program(role: &str, program: &Path, directory: &Path) -> Result<Disk, Failure> {
    let stage = directory.join(role);
    fs::create_dir_all(&stage).map_err(file("make", &stage))?;
    fs::copy(program, stage.join(role)).map_err(file("copy", program))?;
    let packed = directory.join(format!("{role}.squashfs"));
    let unfit = |error: CommandError| Failure::Unfit(error.to_string());
    squashfs::make(&stage, &packed, Compression::Lz4).map_err(unfit)?;
    image(role, &packed)
}
