//! Disks out of sysfs and udev, with what stands on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bedplate_model::facts::DiskFacts;
pub use bedplate_model::facts::kind::UNREADABLE;

use super::content::{self, Disk};
use super::roots::{Roots, names, number, text};
use super::{holders, modules};

/// What takes seconds to say that there is nothing in it.
const NEVER_LOOKED_INTO: [&str; 2] = ["floppy", "optical"];

/// Every disk with a size, by kernel name.
pub fn read_all(roots: &Roots) -> Vec<DiskFacts> {
    let links = by_id_links(roots);
    let blocks = names(&roots.sys.join("block"));
    blocks.iter().filter_map(|name| read(roots, name, &links)).collect()
}

/// One disk as it is now; none when it is gone or has no medium.
pub fn read_one(roots: &Roots, name: &str) -> Option<DiskFacts> {
    read(roots, name, &by_id_links(roots))
}

/// Names under `/dev/disk/by-id` with the kernel name each resolves to.
fn by_id_links(roots: &Roots) -> BTreeMap<String, String> {
    let directory = roots.dev.join("disk/by-id");
    let resolve = |link: &String| {
        let target = fs::read_link(directory.join(link)).ok()?;
        let target = target.to_str()?;
        // udev's links are relative, those that somebody made need not be.
        let target = target.strip_prefix("/dev/").unwrap_or(target);
        // sysfs writes `cciss!c0d0` for `/dev/cciss/c0d0`.
        Some(target.trim_start_matches("../").replace('/', "!"))
    };
    names(&directory).into_iter().filter_map(|link| Some((link.clone(), resolve(&link)?))).collect()
}

fn read(roots: &Roots, name: &str, links: &BTreeMap<String, String>) -> Option<DiskFacts> {
    let directory = roots.sys.join("block").join(name);
    let size = number(&directory.join("size"))? * 512;
    // A reader without a medium, or one path of an NVMe disk that has a name of its own.
    if size == 0 || number(&directory.join("hidden")) == Some(1) {
        return None;
    }
    let partitions = partitions(&directory, name);
    let pointing_at = |wanted: &dyn Fn(&str) -> bool| {
        links.iter().filter(|(_, to)| wanted(to)).map(|(link, _)| link.clone()).collect()
    };
    let number_text = text(&directory.join("dev")).unwrap_or_default();
    let udev = udev_properties(roots, &number_text);
    let property = |key: &str| udev.get(key).cloned();
    let transport = transport(&directory, name, &udev);
    let sector_size = number(&directory.join("queue/logical_block_size"))
        .and_then(|value| u32::try_from(value).ok())
        .unwrap_or(512);
    let (signatures, bedplate) = match roots.probe {
        Some(probe) if !NEVER_LOOKED_INTO.contains(&transport.as_str()) => {
            content::of(roots, probe, &Disk { name, size, sector_size }, &partitions)
        }
        _ => (Vec::new(), None),
    };
    Some(DiskFacts {
        kernel_name: name.to_owned(),
        number: number_text,
        by_id: pointing_at(&|to| to == name),
        partition_by_id: pointing_at(&|to| partitions.iter().any(|part| part.name == to)),
        serial: text(&directory.join("device/serial"))
            .or_else(|| text(&directory.join("serial")))
            .or_else(|| property("ID_SERIAL_SHORT"))
            .or_else(|| property("ID_SCSI_SERIAL")),
        wwn: text(&directory.join("wwid"))
            .or_else(|| property("ID_WWN_WITH_EXTENSION"))
            .or_else(|| property("ID_WWN")),
        model: text(&directory.join("device/model")).or_else(|| property("ID_MODEL")),
        size,
        sector_size,
        rotational: number(&directory.join("queue/rotational")) == Some(1),
        transport,
        network: network(&directory),
        zoned: text(&directory.join("queue/zoned")).filter(|model| model != "none"),
        modules: modules::of_disk(roots, name),
        removable: number(&directory.join("removable")) == Some(1),
        read_only: number(&directory.join("ro")) == Some(1),
        diskseq: number(&directory.join("diskseq")),
        holders: holders::of(roots, name, &partitions),
        signatures,
        bedplate,
    })
}

/// A partition as the kernel shows it.
#[derive(Debug, Clone)]
pub struct PartitionEntry {
    /// Kernel name.
    pub name: String,
    /// Number on its disk.
    pub number: u32,
    /// Size in bytes.
    pub size: u64,
}

fn partitions(directory: &Path, disk: &str) -> Vec<PartitionEntry> {
    let entry = |name: String| {
        let own = directory.join(&name);
        let index = number(&own.join("partition"))?;
        let size = number(&own.join("size")).unwrap_or(0) * 512;
        Some(PartitionEntry { name, number: u32::try_from(index).ok()?, size })
    };
    let mut found: Vec<_> = names(directory)
        .into_iter()
        .filter(|name| name.starts_with(disk))
        .filter_map(entry)
        .collect();
    found.sort_by_key(|entry| entry.number);
    found
}

/// The `E:` lines of udev's record of a block device.
fn udev_properties(roots: &Roots, number: &str) -> BTreeMap<String, String> {
    let record = fs::read_to_string(roots.udev.join(format!("b{number}"))).unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.strip_prefix("E:")?.split_once('=')?;
        let value = value.trim();
        (!value.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    record.lines().filter_map(pair).collect()
}

fn transport(directory: &Path, name: &str, udev: &BTreeMap<String, String>) -> String {
    const BY_NAME: [(&str, &str); 16] = [
        ("etherd!", "aoe"),
        ("rbd", "rbd"),
        ("drbd", "drbd"),
        ("bcache", "bcache"),
        ("zd", "zvol"),
        ("ram", "ram"),
        ("nvme", "nvme"),
        ("vd", "virtio"),
        ("mmcblk", "mmc"),
        ("loop", "loop"),
        ("zram", "zram"),
        ("sr", "optical"),
        ("fd", "floppy"),
        ("md", "md"),
        ("dm-", "dm"),
        ("nbd", "nbd"),
    ];
    if let Some((_, kind)) = BY_NAME.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        return (*kind).to_owned();
    }
    let path = fs::canonicalize(directory).unwrap_or_default();
    let path = path.to_string_lossy();
    let bus = udev.get("ID_BUS").map(String::as_str);
    let kind = if path.contains("/usb") || bus == Some("usb") {
        "usb"
    } else if path.contains("/ata") || bus == Some("ata") {
        "sata"
    } else if name.starts_with("sd") || bus == Some("scsi") {
        "scsi"
    } else {
        "unknown"
    };
    kind.to_owned()
}

/// What a disk is reached by over a network, as sysfs shows it.
fn network(directory: &Path) -> Option<String> {
    let device = fs::canonicalize(directory.join("device")).ok()?;
    let is_session = |part: &str| {
        let number = part.strip_prefix("session");
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if device.components().filter_map(|part| part.as_os_str().to_str()).any(is_session) {
        return Some("iscsi".to_owned());
    }
    // The controller itself, or the subsystem with a link to each controller.
    let own = std::iter::once(device.clone());
    let below = names(&device).into_iter().filter(|name| name.starts_with("nvme"));
    let mut transports = own
        .chain(below.map(|name| device.join(name)))
        .filter_map(|controller| text(&controller.join("transport")));
    transports.find(|transport| matches!(transport.as_str(), "tcp" | "rdma" | "fc"))
}
