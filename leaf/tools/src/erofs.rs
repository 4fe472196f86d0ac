//! `mkfs.erofs`: a read-only image of a few large files, read as quickly as the device it is on.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Pieces that are stored once however often they occur, in bytes: a hole takes one such piece.
const PIECE: &str = "65536";

/// Makes `image` of what stands in `directory`, uncompressed; everything is root's and dated 1970.
/// `id` is the file system's UUID.
pub fn make(directory: &Path, image: &Path, id: &str) -> Result<(), CommandError> {
    let mut command = Command::new("mkfs.erofs");
    command.args(["--quiet", "--all-root", "-T1", "-U", id]).arg(format!("--chunksize={PIECE}"));
    command.arg(image).arg(directory).env_remove("SOURCE_DATE_EPOCH").run()
}
