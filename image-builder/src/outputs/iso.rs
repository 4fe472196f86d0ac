//! A hybrid ISO: boots from a CD and from a stick, by UEFI and by a BIOS.

use std::fs;
use std::path::Path;

use bedplate_formats::boot::MEDIUM_LABEL;
use bedplate_tools::xorriso;

use super::Output;
use crate::answers::Answers;
use crate::contents::Contents;
use crate::error::{Error, tool};
use crate::personalize;

/// Where the image of El Torito for a BIOS is.
const BIOS_IMAGE: &str = "boot/grub/bios.img";

/// ISO 9660 with El Torito and partition tables, written by xorriso.
pub struct Iso;

impl Output for Iso {
    fn write(&self, contents: &Contents, to: &Path) -> Result<(), Error> {
        let parts = contents.parts.iter().map(|part| (part.name.as_str(), part.file.as_path()));
        let files: Vec<_> = parts.chain([(BIOS_IMAGE, contents.bios.as_path())]).collect();
        let _ = fs::remove_file(to);
        let image = xorriso::Image {
            output: to,
            volume: MEDIUM_LABEL,
            esp: &contents.esp,
            bios: Some((BIOS_IMAGE, &contents.sector)),
            files: &files,
        };
        xorriso::make(&image).map_err(tool("write the medium"))
    }

    fn answer(&self, to: &Path, answers: &Answers) -> Result<(), Error> {
        personalize::personalize(to, answers).map(drop)
    }
}
