//! Devices by their stable names, and whether they are still what the plan says.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_facts::disks::read_one;
use bedplate_facts::roots::{Roots, text};
use bedplate_spec::event::DeviceState;
use bedplate_spec::facts::DiskFacts;
use bedplate_spec::plan::DiskTarget;
use bedplate_spec::shown::shown;

use crate::error::{During as _, StepError};

/// How long a partition node may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);

/// The device as its owner knows it.
pub fn owner_name(target: &DiskTarget) -> String {
    format!("{} ({})", target.role, target.id)
}

/// The kernel name that the by-id name stands for at this moment.
pub fn kernel_name(id: &str) -> Result<String, StepError> {
    let link = PathBuf::from("/dev/disk/by-id").join(id);
    let node = fs::canonicalize(&link).during(format!("{} is not there", link.display()))?;
    let name = node.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| StepError::new(format!("{} has no kernel name", node.display())))
}

/// The node of a partition of a disk.
pub fn partition_node(disk: &str, partition: u32) -> PathBuf {
    let separator = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    PathBuf::from(format!("/dev/{disk}{separator}{partition}"))
}

/// The node of a partition of the disk of a target, once it is there.
pub fn wait_for_partition(target: &DiskTarget, partition: u32) -> Result<PathBuf, StepError> {
    let node = partition_node(&kernel_name(&target.id)?, partition);
    let deadline = Instant::now() + PATIENCE;
    while !node.exists() {
        if Instant::now() > deadline {
            return Err(StepError::new(format!("{} did not appear", node.display())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(node)
}

/// Whether the disk is still the one of the plan, and in nobody's use.
pub fn check(target: &DiskTarget) -> Result<String, StepError> {
    let untouched = |error: StepError| error.on(owner_name(target), DeviceState::Untouched);
    let name = kernel_name(&target.id).map_err(untouched)?;
    let facts = read_one(&Roots::identity(), &name)
        .ok_or_else(|| StepError::new(format!("/dev/{name} has no medium any more")))
        .map_err(untouched)?;
    let differences = differences(target, &facts);
    if differences.is_empty() {
        return Ok(name);
    }
    let message = format!("the disk is not as planned: {}", differences.join("; "));
    Err(untouched(StepError::new(message)))
}

fn differences(target: &DiskTarget, facts: &DiskFacts) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, planned: String, now: String| {
        if planned != now {
            found.push(format!("{what} was {}, is {}", shown(&planned), shown(&now)));
        }
    };
    let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    compare("serial", show(&target.serial), show(&facts.serial));
    compare("WWN", show(&target.wwn), show(&facts.wwn));
    compare("size", target.size.to_string(), facts.size.to_string());
    // Raised when another disk takes a kernel name; known only where the plan was made.
    if let (Some(planned), Some(now)) = (target.diskseq, facts.diskseq) {
        compare("sequence number", planned.to_string(), now.to_string());
    }
    compare("sector size", target.sector_size.to_string(), facts.sector_size.to_string());
    if !facts.holders.is_empty() {
        let holders: Vec<String> = facts.holders.iter().map(|holder| shown(holder)).collect();
        found.push(format!("it is in use: {}", holders.join(", ")));
    }
    if facts.read_only {
        found.push("it refuses writes".to_owned());
    }
    found
}

/// Opens the disk for writing, for us alone, after checking that it is still the right one.
pub fn open_exclusively(target: &DiskTarget) -> Result<(String, File), StepError> {
    let name = check(target)?;
    let path = format!("/dev/{name}");
    let file = exclusive(&path)
        .during(format!("could not open {path} exclusively"))
        .map_err(|error| error.on(owner_name(target), DeviceState::Untouched))?;
    still_the_one(target, &name, &file, &name)?;
    Ok((name, file))
}

/// Opens a partition of the disk for writing, for us alone, as [`open_exclusively`] opens the
/// disk.
pub fn open_partition_exclusively(target: &DiskTarget, partition: u32) -> Result<File, StepError> {
    let name = check(target)?;
    let node = wait_for_partition(target, partition)?;
    let path = node.display().to_string();
    let file = exclusive(&path).during(format!("could not open {path} exclusively"))?;
    let own = node.file_name().and_then(|own| own.to_str()).unwrap_or_default();
    still_the_one(target, &name, &file, own)?;
    Ok(file)
}

/// The link may have moved between the check and the open, and a node may be older than the
/// disk behind it: looks again while `file` is held, which must be the kernel's device `opened`.
fn still_the_one(
    target: &DiskTarget,
    name: &str,
    file: &File,
    opened: &str,
) -> Result<(), StepError> {
    let number = Path::new("/sys/class/block").join(opened).join("dev");
    if check(target)? == name && text(&number).is_some_and(|number| is_device(file, &number)) {
        return Ok(());
    }
    Err(StepError::new("its by-id name changed under our hands")
        .on(owner_name(target), DeviceState::Untouched))
}

/// Whether an open file is the device of this `major:minor`.
fn is_device(file: &File, number: &str) -> bool {
    file.metadata().is_ok_and(|found| {
        let device = found.rdev();
        format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)) == number
    })
}

/// Opens a block device for reading and writing, failing when anyone else holds it.
pub fn exclusive(path: &str) -> std::io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or(0);
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> DiskTarget {
        DiskTarget {
            role: "vm1".into(),
            id: "nvme-VM1".into(),
            serial: Some("VM1".into()),
            wwn: None,
            size: 1 << 40,
            sector_size: 512,
            diskseq: Some(7),
            resume: false,
            sealed: false,
            discard: true,
        }
    }

    fn facts() -> DiskFacts {
        serde_json::from_value(serde_json::json!({
            "kernel_name": "nvme0n1", "number": "259:0", "by_id": ["nvme-VM1"], "serial": "VM1",
            "size": 1u64 << 40, "sector_size": 512, "rotational": false, "transport": "nvme", "diskseq": 7,
        }))
        .unwrap()
    }

    #[test]
    fn t03_a_disk_of_another_serial_size_or_use_is_told() {
        assert!(differences(&target(), &facts()).is_empty());
        let other = DiskFacts {
            serial: Some("X".into()),
            size: 1,
            holders: vec!["dm-0 (x)".into()],
            ..facts()
        };
        let found = differences(&target(), &other);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "serial was VM1, is X");
    }

    #[test]
    fn t03_another_disk_under_the_same_name_is_told_by_its_sequence_number() {
        let replugged = DiskFacts { diskseq: Some(8), ..facts() };
        assert_eq!(differences(&target(), &replugged), ["sequence number was 7, is 8"]);
        let of_another_boot = DiskTarget { diskseq: None, ..target() };
        assert!(differences(&of_another_boot, &replugged).is_empty());
    }

    #[test]
    fn t03_an_opened_node_is_known_by_its_number() {
        let null = File::open("/dev/null").unwrap();
        assert!(is_device(&null, "1:3"));
        assert!(!is_device(&null, "8:0"));
    }

    #[test]
    fn partition_nodes_follow_the_kernel() {
        assert_eq!(partition_node("nvme0n1", 2), PathBuf::from("/dev/nvme0n1p2"));
        assert_eq!(partition_node("sda", 1), PathBuf::from("/dev/sda1"));
    }
}
