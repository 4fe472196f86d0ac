//! What the machine is found to be, looked into by libblkid.

use std::error::Error;
use std::path::Path;

use bedplate_facts::probe::Finding;
use bedplate_facts::roots::Roots;

/// This machine, with a look into every device.
pub fn roots() -> Roots {
    Roots::looking(probe)
}

fn probe(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    let finding =
        |one: bedplate_blkid::Finding| Finding { kind: one.kind, label: one.label, uuid: one.uuid };
    Ok(bedplate_blkid::probe(node)?.into_iter().map(finding).collect())
}
