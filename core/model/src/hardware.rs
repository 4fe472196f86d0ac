//! `hardware.json` of a host's directory: what the machine was found to be.
//!
//! The installer writes it, and `bedplate iso --with-closure` makes it in advance from an
//! inventory: the same facts give the same bytes, so that the same system is built.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::facts::{DiskFacts, Facts, NicFacts};
use crate::plan::{DiskTarget, Plan};

/// Name of the file in the host's directory.
pub const FILE: &str = "hardware.json";

/// What a system must be built with on this machine, read from its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Kernel modules behind the plan's disks, sorted.
    pub disk_modules: Vec<String>,
    /// Kernel modules behind the network interfaces, sorted.
    pub nic_modules: Vec<String>,
    /// `intel` or `amd`.
    pub microcode: Option<String>,
    /// As Nix names it: `x86_64-linux`.
    pub platform: String,
}

/// An inventory that does not say what a system needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the inventory does not say which platform and kernel modules the machine has; make it again \
     with this version (`bedplate inventory --json`)"
)]
pub struct NotRead;

impl Needs {
    /// Those of the plan's disks and of every network interface.
    pub fn of(plan: &Plan, facts: &Facts) -> Result<Self, NotRead> {
        let chosen = |found: &&DiskFacts| plan.disks.iter().any(|disk| found.has_id(&disk.id));
        let disks = facts.disks.iter().filter(chosen);
        Ok(Self {
            disk_modules: united(disks.map(|disk| &disk.modules)),
            nic_modules: united(facts.nics.iter().map(|nic| &nic.modules)),
            microcode: facts.microcode.clone(),
            platform: facts.platform.clone().ok_or(NotRead)?,
        })
    }

    fn keys(&self) -> [(&'static str, Value); 3] {
        let modules = json!({"disks": self.disk_modules, "nics": self.nic_modules});
        [
            ("kernel_modules", modules),
            ("microcode", json!(self.microcode)),
            ("platform", json!(self.platform)),
        ]
    }
}

fn united<'a>(lists: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    lists.flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The text of the file: the machine without what changes from boot to boot, and only the plan's
/// disks.
pub fn text(plan: &Plan, facts: &Facts) -> Result<String, NotRead> {
    let mut keys = Map::new();
    let found = [
        ("schema", json!(1)),
        ("firmware", json!(facts.firmware)),
        ("memory_bytes", json!(facts.memory_bytes)),
        ("disks", plan.disks.iter().map(disk).collect()),
        ("nics", facts.nics.iter().map(nic).collect()),
    ];
    for (key, value) in found.into_iter().chain(Needs::of(plan, facts)?.keys()) {
        keys.insert(key.to_owned(), value);
    }
    Ok(format!("{:#}\n", Value::Object(keys)))
}

fn disk(disk: &DiskTarget) -> Value {
    json!({
        "role": disk.role, "id": disk.id, "serial": disk.serial, "wwn": disk.wwn,
        "size": disk.size, "sector_size": disk.sector_size,
    })
}

fn nic(nic: &NicFacts) -> Value {
    json!({"name": nic.name, "mac": nic.mac, "driver": nic.driver})
}
