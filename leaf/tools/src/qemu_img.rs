//! `qemu-img`: images of disks.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::command::{CommandError, CommandExt as _};

/// An answer that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum QemuImageError {
    /// It failed.
    #[error("qemu-img failed")]
    Command(#[from] CommandError),
    /// It said something that is not what it documents.
    #[error("qemu-img described an image in a way that cannot be read")]
    Answer(#[source] serde_json::Error),
}

/// What qemu-img knows of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageInfo {
    /// `qcow2`, `raw`, ….
    pub format: String,
    /// Size the guest sees, in bytes.
    #[serde(rename = "virtual-size")]
    pub virtual_size: u64,
    /// Image that this one is a difference to.
    #[serde(default, rename = "backing-filename")]
    pub backing_file: Option<String>,
    /// What only this format knows.
    #[serde(default, rename = "format-specific")]
    pub specific: Option<FormatSpecific>,
}

/// What only one format knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FormatSpecific {
    /// The fields.
    #[serde(default)]
    pub data: FormatData,
}

/// The fields of qcow2 that matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct FormatData {
    /// File outside the image that holds its data.
    #[serde(default, rename = "data-file")]
    pub data_file: Option<String>,
}

impl ImageInfo {
    /// The file outside the image that it depends on, if any.
    pub fn outside_file(&self) -> Option<&str> {
        let data = self.specific.as_ref().and_then(|specific| specific.data.data_file.as_deref());
        self.backing_file.as_deref().or(data)
    }
}

/// Describes `image`. `format` must be given for an image a guest has written to: a guest
/// can make a raw image look like any other. Only the image itself is opened.
pub fn info(image: &Path, format: Option<&str>) -> Result<ImageInfo, QemuImageError> {
    let mut command = Command::new("qemu-img");
    command.args(["info", "--force-share", "--output=json"]);
    if let Some(format) = format {
        command.args(["-f", format]);
    }
    parse(&command.arg("--").arg(image).read()?)
}

/// Makes an empty qcow2 image.
pub fn create(image: &Path, bytes: u64) -> Result<(), QemuImageError> {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]).arg("--").arg(image).arg(bytes.to_string());
    Ok(command.run()?)
}

/// Enlarges a qcow2 image that nobody uses; qemu-img refuses to shrink without being told.
pub fn enlarge(image: &Path, bytes: u64) -> Result<(), QemuImageError> {
    let mut command = Command::new("qemu-img");
    command.args(["resize", "-q", "-f", "qcow2"]).arg("--").arg(image).arg(bytes.to_string());
    Ok(command.run()?)
}

/// Writes what stands in the raw image `from` into a qcow2 image `to`. Nothing is guessed: whatever
/// `from` begins with, it is raw.
pub fn convert_raw(from: &Path, to: &Path) -> Result<(), QemuImageError> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]).arg("--").arg(from).arg(to);
    Ok(command.run()?)
}

/// Reads what `info --output=json` gives.
pub fn parse(text: &str) -> Result<ImageInfo, QemuImageError> {
    serde_json::from_str(text).map_err(QemuImageError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t33_a_backing_file_or_a_data_file_is_seen() {
        let plain = r#"{"format":"qcow2","virtual-size":5,"format-specific":{"type":"qcow2","data":{"compat":"1.1"}}}"#;
        assert_eq!(parse(plain).unwrap().outside_file(), None);
        let backed = r#"{"format":"qcow2","virtual-size":5,"backing-filename":"/etc/shadow"}"#;
        assert_eq!(parse(backed).unwrap().outside_file(), Some("/etc/shadow"));
        let data = r#"{"format":"qcow2","virtual-size":5,"format-specific":{"type":"qcow2","data":{"data-file":"/etc/shadow"}}}"#;
        assert_eq!(parse(data).unwrap().outside_file(), Some("/etc/shadow"));
    }
}
