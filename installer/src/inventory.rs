//! Facts as a table for people.

use bedplate_spec::facts::{DiskFacts, Facts};

use crate::render::text::{bytes, clean};

/// One line a disk, with what it carries and who uses it below.
pub fn table(facts: &Facts) -> String {
    let mut lines =
        vec![format!("{:?} firmware, {} of memory", facts.firmware, bytes(facts.memory_bytes))];
    for disk in &facts.disks {
        lines.extend(disk_lines(disk, facts.boot_medium.as_deref()));
    }
    for nic in &facts.nics {
        let driver = nic.driver.as_deref().unwrap_or("unknown driver");
        let link = if nic.link { "link" } else { "no link" };
        lines.push(format!("{}  {}  {driver}, {link}", nic.name, nic.mac));
    }
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}

fn disk_lines(disk: &DiskFacts, medium: Option<&str>) -> Vec<String> {
    let name = disk.by_id.first().map_or("no by-id name", String::as_str);
    let note = if medium == Some(disk.kernel_name.as_str()) { ", booted from" } else { "" };
    let mut lines = vec![format!(
        "{}  {name}  {}, {}, serial {}{note}",
        disk.kernel_name,
        bytes(disk.size),
        disk.transport,
        disk.serial.as_deref().unwrap_or("unknown"),
    )];
    for signature in &disk.signatures {
        let place = match signature.partition {
            Some(number) => format!("partition {number}"),
            None => "whole disk".to_owned(),
        };
        let label = signature.label.as_deref().unwrap_or("");
        lines.push(format!("    {place}: {} {label}, {}", signature.kind, bytes(signature.size)));
    }
    lines.extend(disk.holders.iter().map(|holder| format!("    in use: {holder}")));
    lines
}
