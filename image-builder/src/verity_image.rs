//! An image with its dm-verity hash tree behind it.

use std::fs;
use std::path::Path;

use bedplate_tools::{squashfs, verity};
use serde::{Deserialize, Serialize};

use crate::error::{Error, file, tool, unfit};

/// LZ4 takes more room than zstd, but reading it back is several times as quick, and the
/// installer reads everything once.
const COMPRESSION: squashfs::Compression = squashfs::Compression::Lz4;

/// What is needed to open an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// Hash over everything, hexadecimal.
    pub root_hash: String,
    /// Where the hash tree begins, in bytes: the length of the data.
    pub hash_offset: u64,
}

/// Makes the squashfs `image` of `directory`.
pub(crate) fn make(directory: &Path, image: &Path) -> Result<Verity, Error> {
    squashfs::make(directory, image, COMPRESSION).map_err(tool("make a squashfs image"))?;
    seal(image)
}

/// Appends the hash tree to an image.
pub(crate) fn seal(image: &Path) -> Result<Verity, Error> {
    let length = fs::metadata(image).map_err(file("look at", image))?.len();
    let hash_offset = length.next_multiple_of(4096);
    let output = fs::OpenOptions::new().write(true).open(image).map_err(file("open", image))?;
    output.set_len(hash_offset).map_err(file("lengthen", image))?;
    let root_hash = verity::append(image, hash_offset).map_err(tool("make a hash tree"))?;
    let root_hash = root_hash.ok_or_else(|| unfit("the hash tree of", image, "has no root"))?;
    Ok(Verity { root_hash, hash_offset })
}
