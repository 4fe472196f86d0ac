//! Who uses a disk.

use std::fs;

use super::disks::PartitionEntry;
use super::roots::{Roots, names, text};

/// Who uses the disk or a partition of it, one line each.
pub fn of(roots: &Roots, disk: &str, partitions: &[PartitionEntry]) -> Vec<String> {
    let directory = roots.sys.join("block").join(disk);
    let mut found = Vec::new();
    let own = std::iter::once((disk, directory.clone()));
    let parts = partitions.iter().map(|part| (part.name.as_str(), directory.join(&part.name)));
    for (name, place) in own.chain(parts) {
        for holder in names(&place.join("holders")) {
            found.push(describe(roots, &holder));
        }
        let node = format!("/dev/{name}");
        found.extend(mounts(roots, &node));
        if first_words(roots, "swaps").any(|word| word == node) {
            found.push("swap".to_owned());
        }
    }
    found.sort();
    found.dedup();
    found
}

fn describe(roots: &Roots, holder: &str) -> String {
    let place = roots.sys.join("class/block").join(holder).join("dm");
    let uuid = text(&place.join("uuid")).unwrap_or_default();
    match text(&place.join("name")) {
        Some(name) if uuid.starts_with("mpath-") => format!("multipath {name}"),
        Some(name) => format!("{holder} ({name})"),
        None => holder.to_owned(),
    }
}

fn mounts(roots: &Roots, node: &str) -> Vec<String> {
    let table = fs::read_to_string(roots.proc.join("self/mounts"))
        .or_else(|_| fs::read_to_string(roots.proc.join("mounts")))
        .unwrap_or_default();
    let target = |line: &str| {
        let mut words = line.split(' ');
        (words.next() == Some(node)).then(|| words.next().map(|at| format!("mounted at {at}")))?
    };
    table.lines().filter_map(target).collect()
}

fn first_words(roots: &Roots, file: &str) -> impl Iterator<Item = String> {
    let table = fs::read_to_string(roots.proc.join(file)).unwrap_or_default();
    let words: Vec<String> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    words.into_iter()
}
