//! Faults brought into a running machine: disks that fail, and disks that are pulled.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::HarnessError;
use crate::machine::Disk;
use crate::pace;
use crate::qmp::Qmp;

/// How long a guest may take to let go of a disk.
const UNPLUG_LIMIT: Duration = Duration::from_secs(60);

/// What a disk no longer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// Reading gives an input/output error.
    Reads,
    /// Writing gives an input/output error.
    Writes,
}

impl Fails {
    fn name(self) -> &'static str {
        match self {
            Self::Reads => "read",
            Self::Writes => "write",
        }
    }
}

impl Qmp {
    /// From now on the disk of a role fails (QEMU's blkdebug, put between device and image).
    pub fn break_disk(&self, role: &str, fails: Fails) -> Result<(), HarnessError> {
        let blocks = self.execute("query-block", Value::Null)?;
        let image = image_node(&blocks, role).ok_or_else(|| HarnessError::Qmp {
            command: "query-block".to_owned(),
            answer: format!("nothing about `{role}`"),
        })?;
        let node = format!("broken-{role}");
        let rule = json!({"event": "none", "iotype": fails.name(), "errno": 5, "once": false});
        self.execute(
            "blockdev-add",
            json!({
                "driver": "blkdebug", "node-name": node, "image": image, "inject-error": [rule],
            }),
        )?;
        let device = format!("/machine/peripheral/dev-{role}");
        let replace = json!({"path": device, "property": "drive", "value": node});
        self.execute("qom-set", replace).map(drop)
    }

    /// From now on the disk of a role takes no more than so many bytes a second.
    pub fn slow_down(&self, role: &str, bytes: u64) -> Result<(), HarnessError> {
        let limits = json!({
            "device": role, "bps": 0, "bps_rd": 0, "bps_wr": bytes,
            "iops": 0, "iops_rd": 0, "iops_wr": 0,
        });
        self.execute("block_set_io_throttle", limits).map(drop)
    }

    /// Pulls the disk of a role out of the running machine, and waits until it is gone.
    pub fn unplug(&self, role: &str) -> Result<(), HarnessError> {
        let device = format!("dev-{role}");
        self.execute("device_del", json!({ "id": device }))?;
        let gone = pace::ask(UNPLUG_LIMIT, Duration::from_millis(100), || {
            let listed = self.execute("qom-list", json!({"path": "/machine/peripheral"}));
            let listed = listed.map(|listed| lists(&listed, &device));
            if matches!(listed, Ok(true)) { None } else { Some(listed.map(drop)) }
        });
        gone.map_err(|spent| {
            HarnessError::Unfit(format!("{spent}, the guest does not let go of `{role}`"))
        })?
    }
}

impl Qmp {
    /// Puts an NVMe disk that was pulled back to where it was.
    pub fn plug_in(&self, disk: &Disk) -> Result<(), HarnessError> {
        let Disk { role, serial, file, .. } = disk;
        let node = format!("again-{role}");
        self.execute(
            "blockdev-add",
            json!({
                "driver": "raw", "node-name": node, "discard": "unmap",
                "file": {"driver": "file", "filename": file, "discard": "unmap"},
            }),
        )?;
        let device = json!({
            "driver": "nvme", "id": format!("dev-{role}"), "bus": format!("port-{role}"),
            "drive": node, "serial": serial,
        });
        self.execute("device_add", device).map(drop)
    }
}

fn image_node<'a>(blocks: &'a Value, role: &str) -> Option<&'a str> {
    let block = blocks.as_array()?.iter().find(|block| block["device"] == role)?;
    block["inserted"]["node-name"].as_str()
}

fn lists(listed: &Value, device: &str) -> bool {
    listed.as_array().is_some_and(|all| all.iter().any(|entry| entry["name"] == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_behind_a_role_is_found_by_its_node() {
        let blocks = json!([
            {"device": "os", "inserted": {"node-name": "#block1"}},
            {"device": "vm1", "inserted": {"node-name": "#block2"}}
        ]);
        assert_eq!(image_node(&blocks, "vm1"), Some("#block2"));
        assert_eq!(image_node(&blocks, "vm2"), None);
        assert!(lists(&json!([{"name": "dev-vm1"}]), "dev-vm1"));
    }
}
