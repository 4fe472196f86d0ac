//! Looking for signatures.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use bedplate_tools::partition_table;
pub use bedplate_tools::wipefs::Finding;

/// Finds every signature on a device or image, for reading only.
pub type Probe = fn(&Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>>;

/// Sizes of a sector that a table can have been written for.
const SECTORS: [u32; 2] = [512, 4096];

/// Looks by `wipefs`, which is part of util-linux and uses libblkid itself, but keeps the
/// identifier of a partition table to itself. It finds a GPT whose first copy or protective MBR is
/// gone, and superblocks whose checksum is wrong.
pub fn by_wipefs(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    let mut found = bedplate_tools::wipefs::signatures(node)?;
    for finding in found.iter_mut().filter(|finding| finding.kind == "gpt") {
        finding.uuid = gpt_guid(node);
    }
    Ok(found)
}

/// The disk's GUID, out of whichever copy of the table is whole.
fn gpt_guid(node: &Path) -> Option<String> {
    let mut file = File::open(node).ok()?;
    let table = |sector| partition_table::find(&mut file, u64::MAX, sector);
    SECTORS.into_iter().find_map(table).map(|table| table.guid.to_string())
}
