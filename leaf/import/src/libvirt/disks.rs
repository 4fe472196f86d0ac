//! Disks and drives of a domain: the one that boots is the machine's, and lies in its directory.

use bedplate_libvirt::xml::Element;

use super::{Domain, Pools, words};
use crate::draft::Found;
use crate::note::quote;

impl Domain<'_> {
    pub(super) fn disks(&mut self, devices: &Element, pools: &Pools) {
        let is_disk = |disk: &&Element| disk.attribute("device").unwrap_or("disk") == "disk";
        let order = |disk: &Element| disk.of("boot", "order").parse::<u32>().unwrap_or(u32::MAX);
        let first = devices.all("disk").filter(is_disk).min_by_key(|disk| order(disk));
        match first {
            Some(disk) => self.disk(disk, pools),
            None => self.open(
                devices,
                "existing_disk",
                "it has no disk, and a machine of host.toml has one",
            ),
        }
        for other in devices.all("disk") {
            let is_first = first.is_some_and(|first| std::ptr::eq(first, other));
            match other.attribute("device").unwrap_or("disk") {
                _ if is_first => {}
                "cdrom" | "floppy" => self.drive(other),
                _ => {
                    let what = source(other).unwrap_or_else(|| words(other));
                    let message = format!(
                        "a machine of host.toml has one disk, that which boots; {} is left out: what is on \
                         it has to go to the first, or to an export",
                        quote(&what)
                    );
                    self.open(other, "disk", message);
                }
            }
        }
    }

    /// The disk that boots.
    fn disk(&mut self, disk: &Element, pools: &Pools) {
        let format = disk.of("driver", "type");
        let path = disk.child("source").and_then(|it| it.attribute("file"));
        let is_qcow2 = format == "qcow2";
        match (path, source(disk)) {
            (Some(path), _) => self.file(disk, path, is_qcow2, pools),
            (None, Some(from)) => {
                let how = "`qemu-img convert -O qcow2` it".to_owned();
                self.draft.existing(
                    &Found { from: &from, how, file: None },
                    false,
                    disk.into(),
                    self.notes,
                );
            }
            (None, None) => {
                let message =
                    "its disk says nothing of where it is; write `existing_disk` and put it there";
                self.open(disk, "existing_disk", message);
            }
        }
        self.bus(disk);
        if let Some(chain) = disk.child("backingStore").filter(|chain| !chain.children.is_empty()) {
            let message = "it is based on another image, a snapshot or a template, and a disk of host.toml \
                           stands for itself: `virsh blockcommit` or `qemu-img convert -O qcow2` first";
            self.open(chain, "existing_disk", message);
        }
        self.tuned(disk);
    }

    /// A disk that is a file: in place where it lies in the machine's directory on a pool already.
    fn file(&mut self, disk: &Element, path: &str, is_qcow2: bool, pools: &Pools) {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let mount = directory.strip_suffix(&format!("/{}", self.draft.name));
        let pool = mount.and_then(|mount| pools.get(mount)).filter(|_| is_qcow2);
        if let Some(pool) = pool {
            self.draft.line("pool", pool.as_str());
        }
        if is_qcow2 && !file.ends_with(".qcow2") {
            let message = format!(
                "{} is a qcow2 by another name, as that of an external snapshot is: where it is based on \
                 another image (`qemu-img info`), `virsh blockcommit` brings both together first",
                quote(file)
            );
            self.open(disk, "existing_disk", message);
        }
        let how = match is_qcow2 {
            true => "move it".to_owned(),
            false => "`qemu-img convert -O qcow2` it".to_owned(),
        };
        let found = Found { from: path, how, file: Some(file).filter(|_| is_qcow2) };
        self.draft.existing(&found, pool.is_some(), disk.into(), self.notes);
    }

    fn bus(&mut self, disk: &Element) {
        let bus = disk.of("target", "bus");
        match bus {
            "virtio" | "" => {}
            "sata" | "scsi" => self.draft.line("disk_bus", bus),
            other => {
                self.draft.line("disk_bus", "sata");
                let message = format!(
                    "its disk is on {}, which host.toml does not know; SATA instead, which most guests find",
                    quote(other)
                );
                self.open(disk, "disk_bus", message);
            }
        }
    }

    /// What was chosen for the disk beside where it is.
    fn tuned(&mut self, disk: &Element) {
        const PLAIN: [&str; 9] = [
            "driver",
            "source",
            "target",
            "address",
            "alias",
            "backingStore",
            "boot",
            "serial",
            "wwn",
        ];
        for child in disk.children.iter().filter(|child| !PLAIN.contains(&child.name.as_str())) {
            self.left_out(child);
        }
        let driver = disk.child("driver").map(|driver| driver.attributes.as_slice());
        let chosen: Vec<String> = driver
            .unwrap_or_default()
            .iter()
            .filter(|(key, value)| {
                !matches!(
                    (key.as_str(), value.as_str()),
                    ("name" | "type", _) | ("discard", "unmap")
                )
            })
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !chosen.is_empty() {
            let message =
                format!("{} of its disk is left to QEMU; left out", quote(&chosen.join(" ")));
            self.tell(disk, "disk", message);
        }
        for name in ["serial", "wwn"] {
            if let Some(child) = disk.child(name) {
                let message = format!(
                    "its disk says {} to the guest; by host.toml it says none: a guest that \
                                       mounts by /dev/disk/by-id does not find it",
                    quote(&child.text)
                );
                self.open(child, "disk", message);
            }
        }
        if let Some(inner) = disk.child("source").and_then(|source| source.child("encryption")) {
            self.open(inner, "disk", "libvirt opens its disk with a key; by host.toml nobody does: take the encryption off first");
        }
    }

    fn drive(&mut self, drive: &Element) {
        if let Some(disc) = source(drive) {
            let message = format!(
                "{} is in its drive; left out: an installed machine needs none",
                quote(&disc)
            );
            self.tell(drive, "cdrom", message);
        }
    }
}

/// Where a disk is, in words; none for an empty drive.
fn source(disk: &Element) -> Option<String> {
    let source = disk.child("source")?;
    let get = |name: &str| source.attribute(name);
    if let Some(path) = get("file").or_else(|| get("dev")).or_else(|| get("dir")) {
        return Some(path.to_owned());
    }
    if let (Some(pool), Some(volume)) = (get("pool"), get("volume")) {
        return Some(format!("the volume {volume} of libvirt's pool {pool}"));
    }
    let network =
        get("protocol").map(|protocol| format!("{protocol} {}", get("name").unwrap_or_default()));
    network.or_else(|| (!source.attributes.is_empty()).then(|| words(source)))
}
