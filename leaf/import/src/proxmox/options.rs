//! What stands in a value, and which keys there are.

use crate::note::Place;

/// One of the parts between commas: `tag=20`, or a part without a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Option_<'t> {
    /// Its name, empty where it has none.
    pub(super) key: &'t str,
    pub(super) value: &'t str,
    /// All of it.
    pub(super) text: &'t str,
    pub(super) at: Place,
}

impl Option_<'_> {
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value == value
    }
}

pub(super) fn options(value: &str, at: Place) -> Vec<Option_<'_>> {
    let mut column = at.column;
    let mut found = Vec::new();
    for text in value.split(',') {
        let (key, value) = text.split_once('=').unwrap_or(("", text));
        found.push(Option_ { key, value, text, at: Place { column, ..at } });
        column += text.chars().count() + 1;
    }
    found
}

/// Kinds of disks, in the order in which Proxmox looks for one to boot.
pub(super) const DISKS: [&str; 4] = ["scsi", "virtio", "sata", "ide"];

/// Keys that are read, or that say nothing that a guest would miss.
const PLAIN: [&str; 25] = [
    "name",
    "cores",
    "sockets",
    "memory",
    "balloon",
    "bios",
    "efidisk0",
    "machine",
    "ostype",
    "onboot",
    "agent",
    "startup",
    "boot",
    "bootdisk",
    "scsihw",
    "tpmstate0",
    "numa",
    "tablet",
    "hotplug",
    "meta",
    "digest",
    "parent",
    "acpi",
    "kvm",
    "template",
];

/// Keys that are told of, with what is to be known.
const TOLD: [(&str, &str); 12] = [
    ("cpu", "by Bedplate the processor is that of the host"),
    (
        "vga",
        "by host.toml a machine has a screen with `iso_image` alone: `virsh console` shows its serial line",
    ),
    ("protection", "nothing is removed but by `state = \"absent\"`"),
    ("description", "host.toml has comments for it"),
    ("tags", "host.toml has comments for it"),
    (
        "smbios1",
        "a new UUID is derived from host.id and the name: licences may take the guest for another computer",
    ),
    ("vmgenid", "it is made anew"),
    ("localtime", "the clock is UTC"),
    ("lock", "see that no backup or migration of it runs"),
    ("vmstatestorage", "nothing of it is needed here"),
    ("migrate_downtime", "nothing of it is needed here"),
    ("migrate_speed", "nothing of it is needed here"),
];

/// Whether a key says nothing that anybody has to be told.
pub(super) fn is_plain(key: &str) -> bool {
    PLAIN.contains(&key)
}

/// What is to be known of a key that is left out.
pub(super) fn told(key: &str) -> Option<&'static str> {
    match stem(key) {
        "serial" | "rng" => return Some("every machine of host.toml has one"),
        "audio" => return Some("it goes with a screen"),
        _ => {}
    }
    TOLD.iter().find(|(name, _)| *name == key).map(|(_, what)| *what)
}

/// The key without its number.
pub(super) fn stem(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whether machines have such a key.
pub(super) fn is_known(key: &str) -> bool {
    let is_numbered = DISKS.contains(&stem(key)) || ["net", "usb", "unused"].contains(&stem(key));
    is_plain(key) || is_numbered && key != stem(key)
}
