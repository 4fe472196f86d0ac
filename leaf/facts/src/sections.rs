//! Facts as sections of host.toml, for whoever begins one: disks that can have a role, by the names that stay.

use bedplate_events::shown::shown;
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::name::ByIdName;
use bedplate_model::size;

/// A section for each disk that a machine can be installed on. Nothing is chosen: roles are numbered, to be renamed,
/// and `wipe` is left at what destroys nothing.
pub fn sections(facts: &Facts) -> String {
    let mut out = String::from(
        "# Every disk of the machine. Rename each to the role it gets, and delete those that stay as they are.\n",
    );
    let mut count = 0;
    for disk in &facts.disks {
        let name = shown(&disk.kernel_name);
        if let Some(why) = unfit(disk, facts.boot_medium.as_deref()) {
            out.push_str(&format!("\n# {name}, {}: {why}\n", size::show(disk.size)));
            continue;
        }
        let Some(id) = disk.by_id.iter().find_map(|id| id.parse::<ByIdName>().ok()) else {
            let why = "it has no name under /dev/disk/by-id, by which host.toml could name it";
            out.push_str(&format!("\n# {name}, {}: {why}\n", size::show(disk.size)));
            continue;
        };
        count += 1;
        out.push_str(&format!("\n# {name}: {}\n", known(disk)));
        out.extend(content(disk).iter().map(|line| format!("#   {line}\n")));
        out.push_str(&format!("[disks.disk{count}]\nid = \"{id}\"\n"));
        if !disk.rotational && !id.starts_with("nvme-") {
            out.push_str("media = \"ssd\"\n");
        }
    }
    out
}

/// What stands on memory, on files or on other disks, and drives that read.
const VIRTUAL: [&str; 14] = [
    "loop", "zram", "ram", "optical", "floppy", "md", "dm", "nbd", "aoe", "rbd", "drbd", "bcache",
    "zvol", "unknown",
];

/// Why nothing is installed on a disk; none when it could be.
fn unfit(disk: &DiskFacts, medium: Option<&str>) -> Option<&'static str> {
    match disk {
        _ if medium == Some(disk.kernel_name.as_str()) => Some("the machine was booted from it"),
        disk if disk.network.is_some() => Some("it is reached through the network"),
        disk if disk.removable => Some("it is removable; a key stick, perhaps"),
        disk if disk.read_only => Some("it is read-only"),
        disk if VIRTUAL.contains(&disk.transport.as_str()) => Some("it is no disk of its own"),
        _ => None,
    }
}

fn known(disk: &DiskFacts) -> String {
    let model = disk.model.as_deref().map(|model| format!("{}, ", shown(model.trim())));
    let serial = disk.serial.as_deref().map(|serial| format!(", serial {}", shown(serial)));
    let size = size::show(disk.size);
    format!(
        "{}{size}, {}{}",
        model.unwrap_or_default(),
        shown(&disk.transport),
        serial.unwrap_or_default()
    )
}

/// What is on a disk, and who uses it.
fn content(disk: &DiskFacts) -> Vec<String> {
    let line = |signature: &bedplate_model::facts::Signature| {
        let place =
            signature.partition.map_or("".to_owned(), |number| format!(" on partition {number}"));
        let label = signature.label.as_deref().map(|label| format!(" \"{}\"", shown(label)));
        let size = size::show(signature.size);
        format!("holds {}{}{place}, {size}", shown(&signature.kind), label.unwrap_or_default())
    };
    let holders = disk.holders.iter().map(|holder| format!("in use: {}", shown(holder)));
    disk.signatures.iter().map(line).chain(holders).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_that_can_be_installed_on_has_a_section_and_others_a_reason() {
        let text = include_str!("../../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(text).unwrap();
        facts.disks[0].model = Some("evil\n[disks.os]\u{1b}[2J".into());
        facts.disks[1].by_id = vec!["no/name\"".into()];
        facts.disks[2].read_only = true;
        let shown = sections(&facts);
        assert!(!shown.contains("\n[disks.os]") && !shown.contains('\u{1b}'), "{shown}");
        assert!(shown.contains("no name under /dev/disk/by-id"), "{shown}");
        assert!(shown.contains("it is read-only"), "{shown}");
        let count = shown.matches("\n[disks.disk").count();
        let fit = facts.disks.iter().skip(3).filter(|disk| !disk.removable).count();
        assert_eq!(count, fit + 1, "{shown}");
    }
}
