//! Whether bridges keep VLANs apart, as their files say.
//!
//! networkd sets this when it makes a bridge. What it does about one that stands differs: before
//! version 257 nothing, and since then it leaves on what a file does not say any more. So the kernel
//! is looked at, and told.

use std::collections::BTreeMap;

use bedplate_tools::ip::{self, IpError};

use super::files::{VLAN_FILTERING, made_by};
use super::{ObservedBridge, links};

/// Has every bridge that stands do as `files` say. networkd makes the others.
pub(super) fn follow(files: &BTreeMap<String, String>) -> Result<(), IpError> {
    for (bridge, on) in differing(files, &links(&ip::addresses()?)) {
        ip::filter_vlans(bridge, on)?;
    }
    Ok(())
}

/// The bridges that stand and do otherwise than `files` say, and what they say.
pub(super) fn differing<'f>(
    files: &'f BTreeMap<String, String>,
    standing: &BTreeMap<String, ObservedBridge>,
) -> Vec<(&'f str, bool)> {
    let said = files.iter().filter_map(|(path, text)| {
        Some((made_by(path)?, text.lines().any(|line| line == VLAN_FILTERING)))
    });
    said.filter(|(name, on)| standing.get(*name).is_some_and(|found| found.vlans_differ(*on)))
        .collect()
}
