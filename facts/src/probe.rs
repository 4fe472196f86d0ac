//! Looking for signatures.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

pub use bedplate_tools::wipefs::Finding;

/// Finds every signature on a device or image, for reading only.
pub type Probe = fn(&Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>>;

/// Where the disk's GUID stands in the header of a GPT.
const GUID: u64 = 56;

/// Looks by `wipefs`, which is part of util-linux and uses libblkid itself, but keeps the
/// identifier of a partition table to itself.
pub fn by_wipefs(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    let mut found = bedplate_tools::wipefs::signatures(node)?;
    for finding in found.iter_mut().filter(|finding| finding.kind == "gpt") {
        finding.uuid = gpt_guid(node);
    }
    Ok(found)
}

/// The disk's GUID out of the primary header, which is in the second sector.
fn gpt_guid(node: &Path) -> Option<String> {
    let file = File::open(node).ok()?;
    [512, 4096].into_iter().find_map(|sector| {
        let mut magic = [0; 8];
        let mut guid = [0; 16];
        file.read_exact_at(&mut magic, sector).ok()?;
        file.read_exact_at(&mut guid, sector + GUID).ok()?;
        (magic == *b"EFI PART").then(|| mixed_endian(guid))
    })
}

/// A GUID as text: its first three fields are little-endian.
fn mixed_endian(bytes: [u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (place, index) in ORDER.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes[index]));
    }
    text
}
