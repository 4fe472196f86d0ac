//! What is on one disk.

use bedplate_yaml::Node;

use crate::note::{Notes, quote};

/// A disk, as far as it is understood.
pub(super) struct Disk<'a> {
    /// What disko calls it.
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) device: Option<&'a str>,
    /// Labels of its partitions, as disko makes them where none is written.
    pub(super) labels: Vec<String>,
    /// The partition with the ESP.
    pub(super) esp: Option<&'a Node>,
    pub(super) is_encrypted: bool,
    /// The name of its opened LUKS volume.
    pub(super) mapped: Option<&'a str>,
    /// Whether discards pass through LUKS.
    pub(super) discards: bool,
    pub(super) file_system: Option<FileSystem<'a>>,
}

/// A btrfs.
pub(super) struct FileSystem<'a> {
    /// Subvolumes that are mounted, and where.
    pub(super) mounts: Vec<(Subvolume<'a>, &'a str)>,
    /// Devices that it has beside the one that it stands on.
    pub(super) beside: Vec<String>,
    /// How data is kept.
    pub(super) data: Option<&'a str>,
    /// How metadata is kept.
    pub(super) metadata: Option<&'a str>,
}

/// A subvolume by its path.
pub(super) struct Subvolume<'a> {
    pub(super) text: String,
    pub(super) node: &'a Node,
}

impl Disk<'_> {
    /// The paths that name it, or what is in its LUKS volume.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        let mapped = self.mapped.map(|mapped| format!("/dev/mapper/{mapped}"));
        let labels = self.labels.iter().map(|label| format!("/dev/disk/by-partlabel/{label}"));
        mapped.into_iter().chain(self.device.map(str::to_owned)).chain(labels)
    }

    /// Whether it boots: an ESP, and the root.
    pub(super) fn is_os(&self) -> bool {
        let has_root = |it: &FileSystem<'_>| it.mounts.iter().any(|(_, mount)| *mount == "/");
        self.file_system.as_ref().is_some_and(has_root)
    }
}

/// The text of a key that is no empty one.
pub(super) fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let value = node.get(key).filter(|value| !value.is_null())?;
    value.text().filter(|text| !text.is_empty())
}

pub(super) fn disk<'a>(name: &'a Node, node: &'a Node, notes: &mut Notes) -> Disk<'a> {
    let name = name.text().unwrap_or_default();
    let mut disk = Disk {
        name,
        node,
        device: text(node, "device"),
        labels: Vec::new(),
        esp: None,
        is_encrypted: false,
        mapped: None,
        discards: false,
        file_system: None,
    };
    if let Some(content) = node.get("content").filter(|content| !content.is_null()) {
        self::content(content, &mut disk, notes);
    }
    disk
}

fn content<'a>(node: &'a Node, disk: &mut Disk<'a>, notes: &mut Notes) {
    match text(node, "type") {
        Some("gpt" | "table") => partitions(node, disk, notes),
        Some("luks") => {
            disk.is_encrypted = true;
            disk.mapped = text(node, "name");
            luks(node, disk, notes);
            if let Some(inner) = node.get("content").filter(|inner| !inner.is_null()) {
                content(inner, disk, notes);
            }
        }
        Some("btrfs") if disk.file_system.is_none() => {
            disk.file_system = Some(btrfs(node, disk.name, notes))
        }
        Some("filesystem") => file_system(node, disk, notes),
        Some(other) => {
            let message =
                format!("{} is left out: Bedplate knows btrfs on LUKS alone", quote(other));
            notes.open(node, disk.name, message);
        }
        None => notes.open(node, disk.name, "a content without `type` is left out"),
    }
}

/// As a map by names, or as a list.
fn partitions<'a>(table: &'a Node, disk: &mut Disk<'a>, notes: &mut Notes) {
    let Some(partitions) = table.get("partitions") else { return };
    for (key, partition) in partitions.entries() {
        let name = key.text().unwrap_or_default();
        let usual = format!("disk-{}-{name}", disk.name);
        disk.labels.push(text(partition, "label").map_or(usual, str::to_owned));
    }
    let named = partitions.entries().iter().map(|(_, partition)| partition);
    for partition in named.chain(partitions.items()) {
        let inner = partition.get("content").filter(|inner| !inner.is_null());
        let is_esp = text(partition, "type") == Some("EF00");
        let is_bios = text(partition, "type") == Some("EF02");
        match inner {
            Some(inner) if is_esp && text(inner, "type") == Some("filesystem") => {
                disk.esp = Some(partition);
                let mount = text(inner, "mountpoint").unwrap_or("/boot");
                if mount != "/boot" {
                    let message = format!(
                        "the ESP is mounted at {}; Bedplate decides where it is",
                        quote(mount)
                    );
                    notes.tell(inner, disk.name, message);
                }
            }
            Some(inner) => content(inner, disk, notes),
            None if is_bios => {
                notes.open(partition, disk.name, "it boots by BIOS, and by Bedplate by UEFI alone")
            }
            None => notes.tell(partition, disk.name, "an empty partition is left out"),
        }
    }
}

fn file_system<'a>(node: &'a Node, disk: &mut Disk<'a>, notes: &mut Notes) {
    let format = text(node, "format").unwrap_or_default();
    if format == "btrfs" && disk.file_system.is_none() {
        disk.file_system = Some(btrfs(node, disk.name, notes));
        return;
    }
    let place = text(node, "mountpoint").unwrap_or("nowhere");
    let message = format!(
        "a file system {} at {} is left out: Bedplate knows btrfs alone",
        quote(format),
        quote(place)
    );
    notes.open(node, disk.name, message);
}

fn luks(node: &Node, disk: &mut Disk<'_>, notes: &mut Notes) {
    let settings = node.get("settings");
    let is_on = |node: Option<&Node>, key| node.and_then(|node| text(node, key)) == Some("true");
    disk.discards = is_on(settings, "allowDiscards") || is_on(Some(node), "allowDiscards");
    let key = settings.and_then(|settings| settings.get("keyFile")).filter(|key| !key.is_null());
    let key = key.or(node.get("keyFile").filter(|key| !key.is_null()));
    let key = key.or(node.get("passwordFile").filter(|key| !key.is_null()));
    if let Some(key) = key {
        let message = format!(
            "the key {} is left out: Bedplate opens all disks by the keyfile of its key sticks (`[unlock]`)",
            quote(key.text().unwrap_or_default())
        );
        notes.tell(key, disk.name, message);
    }
}

fn btrfs<'a>(node: &'a Node, name: &str, notes: &mut Notes) -> FileSystem<'a> {
    let mut mounts = Vec::new();
    if let Some(mount) = text(node, "mountpoint") {
        mounts.push((Subvolume { text: "/".to_owned(), node }, mount));
    }
    let subvolumes = node.get("subvolumes").map(Node::entries).unwrap_or_default();
    for (key, subvolume) in subvolumes {
        let path = text(subvolume, "name").or(key.text()).unwrap_or_default();
        match text(subvolume, "mountpoint") {
            Some(mount) => {
                mounts.push((Subvolume { text: path.to_owned(), node: subvolume }, mount))
            }
            None => {
                let message = format!("the subvolume {} is mounted nowhere; left out", quote(path));
                notes.tell(key, name, message);
            }
        }
        if let Some(swap) = subvolume.get("swap").filter(|swap| !swap.entries().is_empty()) {
            notes.open(swap, name, "host.toml knows no swap; left out");
        }
    }
    let (mut beside, mut data, mut metadata) = (Vec::new(), None, None);
    let arguments = node.get("extraArgs").map(Node::items).unwrap_or_default();
    // Some write several words as one.
    let words = arguments.iter().filter_map(|argument| Some((argument, argument.text()?)));
    let mut words =
        words.flat_map(|(at, text)| text.split_whitespace().map(move |word| (at, word)));
    while let Some((at, word)) = words.next() {
        match word {
            "-d" | "--data" => data = words.next().map(|(_, level)| level),
            "-m" | "--metadata" => metadata = words.next().map(|(_, level)| level),
            "-f" | "--force" => {}
            "-L" | "--label" => _ = words.next(),
            device if device.starts_with("/dev/") => beside.push(device.to_owned()),
            other => match (other.strip_prefix("--data="), other.strip_prefix("--metadata=")) {
                (Some(level), _) => data = Some(level),
                (_, Some(level)) => metadata = Some(level),
                _ => notes.open(at, name, format!("{} is left out", quote(other))),
            },
        }
    }
    FileSystem { mounts, beside, data, metadata }
}

/// sgdisk counts in powers of 1024: `1G` is a GiB.
pub(super) fn size(text: &str) -> Option<String> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let letter = match unit {
        "M" | "MiB" => "MiB",
        "G" | "GiB" => "GiB",
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    Some(format!("{count}{letter}"))
}
