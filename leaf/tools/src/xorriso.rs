//! `xorriso -as mkisofs`: an ISO 9660 image that boots as CD and as USB stick, on UEFI and BIOS.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// What goes into the image.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// Where to write it.
    pub output: &'a Path,
    /// Volume identifier.
    pub volume: &'a str,
    /// The EFI system partition: appended, and El Torito image at the same time.
    pub esp: &'a Path,
    /// El Torito image for BIOS, as a path on the image, and the code for the boot sector.
    pub bios: Option<(&'a str, &'a Path)>,
    /// Path on the image and the file on this machine that it holds.
    pub files: &'a [(&'a str, &'a Path)],
}

/// Writes the image; the same content gives the same bytes.
pub fn make(request: &Image<'_>) -> Result<(), CommandError> {
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-o"]).arg(request.output);
    command.args(["-V", request.volume, "-R", "-quiet", "-graft-points"]);
    command.args(["-append_partition", "2", "0xef"]).arg(request.esp);
    command.args(["-appended_part_as_gpt", "-partition_offset", "16"]);
    if let Some((image, sector)) = request.bios {
        command.args(["-b", image, "-no-emul-boot", "-boot-load-size", "4"]);
        command.args(["-boot-info-table", "--grub2-boot-info", "--grub2-mbr"]).arg(sector);
        command.arg("-eltorito-alt-boot");
    }
    command.args(["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]);
    for (path, file) in request.files {
        command.arg(format!("{path}={}", file.display()));
    }
    command.env("SOURCE_DATE_EPOCH", "1").run()
}
