//! `hardware.json`: what the machine was found to be.

use bedplate_spec::facts::Facts;
use bedplate_spec::host::Platform;
use bedplate_spec::plan::Plan;
use serde_json::{Value, json};

/// The facts of the machine without what changes from boot to boot, and only the plan's disks.
pub fn of(plan: &Plan, facts: &Facts, platform: Platform) -> Value {
    let disk = |disk: &bedplate_spec::plan::DiskTarget| {
        json!({
            "role": disk.role, "id": disk.id, "serial": disk.serial, "wwn": disk.wwn,
            "size": disk.size, "sector_size": disk.sector_size,
        })
    };
    let nic = |nic: &bedplate_spec::facts::NicFacts| json!({"name": nic.name, "mac": nic.mac, "driver": nic.driver});
    let _ = platform;
    json!({
        "schema": 1, "firmware": facts.firmware, "memory_bytes": facts.memory_bytes,
        "disks": plan.disks.iter().map(disk).collect::<Vec<_>>(),
        "nics": facts.nics.iter().map(nic).collect::<Vec<_>>(),
    })
}
