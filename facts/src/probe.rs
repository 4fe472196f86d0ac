//! Looking for signatures.

use std::error::Error;
use std::path::Path;

pub use bedplate_tools::wipefs::Finding;

/// Finds every signature on a device or image, for reading only.
pub type Probe = fn(&Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>>;

/// Looks by `wipefs`, which is part of util-linux and uses libblkid itself.
pub fn by_wipefs(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    Ok(bedplate_tools::wipefs::signatures(node)?)
}
