//! `hardware.json`: what the machine was found to be.

use bedplate_facts::modules;
use bedplate_facts::roots::Roots;
use bedplate_spec::facts::{Facts, NicFacts};
use bedplate_spec::plan::{DiskTarget, Plan};
use serde_json::{Map, Value, json};

/// What a system must be built with on this machine, read from its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Kernel modules behind the plan's disks.
    pub disk_modules: Vec<String>,
    /// Kernel modules behind the network interfaces.
    pub nic_modules: Vec<String>,
    /// `intel` or `amd`.
    pub microcode: Option<&'static str>,
    /// As Nix names it: `x86_64-linux`.
    pub platform: String,
}

impl Needs {
    /// Those of this machine.
    pub fn read(roots: &Roots, plan: &Plan, facts: &Facts) -> Self {
        let chosen = |by_id: &Vec<String>| plan.disks.iter().any(|disk| by_id.contains(&disk.id));
        let disks = facts.disks.iter().filter(|disk| chosen(&disk.by_id));
        Self {
            disk_modules: modules::of_disks(roots, disks.map(|disk| disk.kernel_name.as_str())),
            nic_modules: modules::of_nics(roots, facts.nics.iter().map(|nic| nic.name.as_str())),
            microcode: modules::microcode(roots),
            platform: format!("{}-linux", std::env::consts::ARCH),
        }
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

/// The machine without what changes from boot to boot, and only the plan's disks.
pub fn of(plan: &Plan, facts: &Facts, needs: &Needs) -> Value {
    let mut keys = Map::new();
    let found = [
        ("schema", json!(1)),
        ("firmware", json!(facts.firmware)),
        ("memory_bytes", json!(facts.memory_bytes)),
        ("disks", plan.disks.iter().map(disk).collect()),
        ("nics", facts.nics.iter().map(nic).collect()),
    ];
    for (key, value) in found.into_iter().chain(needs.keys()) {
        keys.insert(key.to_owned(), value);
    }
    Value::Object(keys)
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
