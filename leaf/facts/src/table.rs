//! Facts as a table for people.

use bedplate_events::shown::shown;
use bedplate_model::facts::{DiskFacts, Facts, FirmwareKind};
use bedplate_model::size;

/// One line a disk, with what it carries and who uses it below.
pub fn table(facts: &Facts) -> String {
    let firmware = match facts.firmware {
        FirmwareKind::Uefi => "UEFI",
        FirmwareKind::Bios => "BIOS",
    };
    let mut lines = vec![format!("{firmware}, {} of memory", size::show(facts.memory_bytes))];
    for disk in &facts.disks {
        lines.extend(disk_lines(disk, facts.boot_medium.as_deref()));
    }
    for nic in &facts.nics {
        let driver = nic.driver.as_deref().map_or("unknown driver".to_owned(), shown);
        let link = if nic.link { "link" } else { "no link" };
        let kind = nic.kind.as_deref().filter(|kind| *kind != "ethernet");
        let kind = kind.map(|kind| format!(", {}", shown(kind))).unwrap_or_default();
        lines.push(format!("{}  {}  {driver}, {link}{kind}", shown(&nic.name), shown(&nic.mac)));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn disk_lines(disk: &DiskFacts, medium: Option<&str>) -> Vec<String> {
    let name = disk.by_id.first().map_or("no by-id name".to_owned(), |name| shown(name));
    let note = if medium == Some(disk.kernel_name.as_str()) { ", booted from" } else { "" };
    let mut lines = vec![format!(
        "{}  {name}  {}, {}, serial {}{note}",
        shown(&disk.kernel_name),
        size::show(disk.size),
        shown(&disk.transport),
        disk.serial.as_deref().map_or("unknown".to_owned(), shown),
    )];
    for signature in &disk.signatures {
        let place = match signature.partition {
            Some(number) => format!("partition {number}"),
            None => "whole disk".to_owned(),
        };
        let label = signature.label.as_deref().map(|label| format!(" \"{}\"", shown(label)));
        lines.push(format!(
            "    {place}: {}{}, {}",
            shown(&signature.kind),
            label.unwrap_or_default(),
            size::show(signature.size)
        ));
    }
    lines.extend(disk.holders.iter().map(|holder| format!("    in use: {}", shown(holder))));
    lines
}
