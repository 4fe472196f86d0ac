//! Who uses a disk.

use std::fs;
use std::path::Path;

use super::disks::PartitionEntry;
use super::roots::{Roots, names, text};

/// Who uses the disk or a partition of it, one line each.
pub fn of(roots: &Roots, disk: &str, partitions: &[PartitionEntry]) -> Vec<String> {
    let directory = roots.sys.join("block").join(disk);
    let mut found = Vec::new();
    let own = std::iter::once((disk, directory.clone()));
    let parts = partitions.iter().map(|part| (part.name.as_str(), directory.join(&part.name)));
    for (name, place) in own.chain(parts) {
        found.extend(names(&place.join("holders")).iter().map(|holder| describe(roots, holder)));
        let device = Device {
            number: text(&place.join("dev")).unwrap_or_default(),
            name: name.replace('!', "/"),
        };
        found.extend(device.mounts(roots));
        found.extend(device.swap(roots));
        found.extend(btrfs(roots, name));
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

/// A mounted btrfs stands in the table of mounts by one of its devices only.
fn btrfs(roots: &Roots, name: &str) -> Option<String> {
    let mounted = roots.sys.join("fs/btrfs");
    let id = names(&mounted)
        .into_iter()
        .find(|id| mounted.join(id).join("devices").join(name).exists())?;
    let label = text(&mounted.join(&id).join("label"));
    Some(format!("mounted as part of btrfs {}", label.unwrap_or(id)))
}

/// The table of mounts writes blanks in octal.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

struct Device {
    number: String,
    name: String,
}

impl Device {
    /// Mount points by device number, and by source for file systems with numbers of their own.
    fn mounts(&self, roots: &Roots) -> Vec<String> {
        let table = fs::read_to_string(roots.proc.join("self/mountinfo"))
            .or_else(|_| fs::read_to_string(roots.proc.join("1/mountinfo")))
            .unwrap_or_default();
        let target = |line: &str| {
            let (place, source) = line.split_once(" - ")?;
            let mut words = place.split(' ');
            let number = words.nth(2)?;
            let at = words.nth(1)?;
            let from = source.split(' ').nth(1)?;
            let ours = number == self.number || self.is(roots, from);
            ours.then(|| format!("mounted at {}", unescaped(at)))
        };
        table.lines().filter_map(target).collect()
    }

    fn swap(&self, roots: &Roots) -> Option<String> {
        let table = fs::read_to_string(roots.proc.join("swaps")).unwrap_or_default();
        let mut sources = table.lines().filter_map(|line| line.split_whitespace().next());
        sources.any(|source| self.is(roots, source)).then(|| "swap".to_owned())
    }

    /// Whether a path under `/dev` is this device, by name or through links.
    fn is(&self, roots: &Roots, source: &str) -> bool {
        let Some(path) = source.strip_prefix("/dev/") else { return false };
        let resolved = fs::canonicalize(roots.dev.join(path)).ok();
        let beyond = |path: &Path| {
            let root = fs::canonicalize(&roots.dev).ok()?;
            Some(path.strip_prefix(root).ok()?.to_string_lossy().into_owned())
        };
        path == self.name || resolved.and_then(|path| beyond(&path)).as_ref() == Some(&self.name)
    }
}
