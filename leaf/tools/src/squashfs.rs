//! `mksquashfs`: a read-only image of a directory, the same bytes for the same content.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// How an image is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// LZ4, high compression: the quickest to read.
    Lz4,
    /// Zstandard of this level.
    Zstd(u8),
}

/// Size of a compressed block, and what the kernel reads ahead by default: with 256 KiB, reading
/// everything cost a quarter more processor time, with 1 MiB more than twice as much.
const BLOCK: &str = "128K";

/// Makes `image` of what stands in `directory`; everything is root's and dated 1970.
pub fn make(directory: &Path, image: &Path, compression: Compression) -> Result<(), CommandError> {
    let mut command = Command::new("mksquashfs");
    command.arg(directory).arg(image);
    command.args(["-noappend", "-quiet", "-no-progress", "-no-xattrs", "-all-root"]);
    command.args(["-all-time", "1", "-mkfs-time", "1", "-b", BLOCK]);
    match compression {
        Compression::Lz4 => command.args(["-comp", "lz4", "-Xhc"]),
        Compression::Zstd(level) => {
            command.args(["-comp", "zstd", "-Xcompression-level"]).arg(level.to_string())
        }
    };
    command.env_remove("SOURCE_DATE_EPOCH").run()
}
