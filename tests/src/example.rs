//! The machine of the example, as an inventory tells of it.

use bedplate_model::facts::{Facts, NicFacts};

const INVENTORY: &str = include_str!("../../profiles/hypervisor/inventory.json");

/// Its facts, with a second NIC: some documents have a bridge for each.
pub fn facts() -> Result<Facts, serde_json::Error> {
    let mut facts: Facts = serde_json::from_str(INVENTORY)?;
    let second = facts.nics.first().map(|first| NicFacts {
        name: "enp6s0".to_owned(),
        mac: "04:42:1a:01:02:04".to_owned(),
        other_names: Vec::new(),
        ..first.clone()
    });
    facts.nics.extend(second);
    Ok(facts)
}
