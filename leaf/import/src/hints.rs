//! What the keys and words of other tools are called in `host.toml`.

use bedplate_document::nearest;

/// Keys of roles and tools, and the key of a machine that means the same or holds it.
#[rustfmt::skip]
const KEYS: [(&str, &[&str]); 15] = [
    ("ram_mb", &["memory", "memory_mb", "memory_mib", "mem", "mem_mb", "ram", "ram_size", "memory_size", "max_memory"]),
    ("vcpu", &["vcpus", "cpu", "cpus", "cores", "num_cpus", "cpu_count", "ncpus", "vcpu_count", "processors"]),
    ("mac_address", &["mac", "macaddr", "mac_addr", "hwaddr"]),
    ("disk_gb", &["disk_size", "disk_size_gb", "size_gb", "capacity", "disk", "root_disk_size", "volume_size"]),
    ("disk_image", &["image", "image_url", "base_image", "cloud_image", "volumes", "disks", "root_disk"]),
    ("iso_image", &["iso", "iso_url", "cdrom", "installer", "boot_iso", "install_media"]),
    ("bridge", &["network", "net", "bridge_name", "network_bridge", "br"]),
    ("nics", &["networks", "interfaces", "nic", "network_interfaces", "net_interfaces", "netcards"]),
    ("vlan", &["vlan_id", "vlan_tag", "tag"]),
    ("firmware", &["boot_firmware", "bios", "uefi", "efi", "secure_boot", "secureboot", "loader"]),
    ("usb_devices", &["usb", "usbs", "usb_passthrough", "hostdevs"]),
    ("autostart", &["onboot", "start_on_boot", "boot_on_start", "auto_start", "enabled"]),
    ("start_order", &["startup", "startup_order", "boot_priority", "priority", "order"]),
    ("guest_agent", &["agent", "qemu_agent", "qemu_guest_agent"]),
    ("cloud_init", &["cloudinit", "user_data", "cloud_config", "userdata", "ssh_keys", "ssh_key"]),
];

/// The same below a machine, where the tables are others.
#[rustfmt::skip]
const INNER: [(&str, &[&str]); 7] = [
    ("vendor_id", &["vendor", "vid", "idVendor"]),
    ("product_id", &["product", "pid", "idProduct"]),
    ("sha256", &["sha256sum", "hash", "digest", "checksum_value", "sum"]),
    ("url", &["src", "source", "link", "uri", "href", "location"]),
    ("dest", &["path", "destination", "target", "file"]),
    ("mac_address", &["mac", "macaddr", "hwaddr"]),
    ("bridge", &["network", "net", "source", "dev"]),
];

/// Words of other tools, and what they are called here.
const WORDS: [(&str, &[&str]); 7] = [
    ("uefi", &["efi", "ovmf", "UEFI", "EFI"]),
    ("uefi-secure-boot", &["secure-boot", "secureboot", "uefi_secure_boot", "secure"]),
    ("bios", &["seabios", "legacy", "BIOS"]),
    ("scsi", &["virtio-scsi", "virtio_scsi"]),
    ("sata", &["ide", "usb"]),
    ("present", &["running", "started", "created", "defined"]),
    ("absent", &["undefined", "removed", "deleted", "destroyed"]),
];

/// Directories of the host that a guest sees.
const SHARES: [&str; 7] = ["virtiofs", "9p", "shared", "share", "filesystem", "mount", "host_dir"];

const SHARED: &str = "host.toml has no directories that a guest shares with its host; left out: what the \
    guest mounts from there it does not find, and a disk that opens with a key from there will not open";
const NO_SUCH_KEY: &str = "host.toml knows no such key here; left out";

/// What to say of a key that is not known where `known` are.
pub(crate) fn unknown(name: &str, known: &[&str]) -> String {
    let lower = name.to_ascii_lowercase();
    let is_in = |(meant, names): &&(&'static str, &[&str])| {
        known.contains(meant) && names.contains(&lower.as_str())
    };
    let tables = KEYS.iter().chain(&INNER);
    let meant = tables.into_iter().find(is_in).map(|(meant, _)| *meant);
    if let Some(meant) = meant {
        let called = match meant {
            "nics" => {
                "`bridge`, `mac_address` and `vlan` are what the first is called here, `nics` the others"
            }
            "disk_image" => {
                "`disk_image` is what it is called here, `existing_disk` one that is there, and `disk_gb` its size"
            }
            meant => return format!("{NO_SUCH_KEY}: `{meant}` is what it is called here"),
        };
        return format!("{NO_SUCH_KEY}: {called}");
    }
    if SHARES.iter().any(|share| lower.contains(share)) {
        return SHARED.to_owned();
    }
    match nearest(name, known) {
        Some(near) => format!("{NO_SUCH_KEY}: did you mean `{near}`?"),
        None => NO_SUCH_KEY.to_owned(),
    }
}

/// The word of `words` that is meant by one of another tool.
pub(crate) fn word<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let synonym = WORDS.iter().find(|(_, names)| names.contains(&text)).map(|(word, _)| *word);
    let found = synonym.and_then(|word| words.iter().find(|one| **one == word));
    found.copied().or_else(|| nearest(text, words))
}

#[cfg(test)]
mod tests {
    use bedplate_document::keys::{blocks, key_at};

    use super::*;

    #[test]
    fn what_is_hinted_at_is_known_and_is_no_key_itself() {
        for (meant, names) in KEYS {
            assert!(key_at("vms.<name>", meant).is_some(), "{meant}");
            for name in names {
                assert!(key_at("vms.<name>", name).is_none(), "{name} is a key");
            }
        }
        let all: Vec<_> =
            blocks().into_iter().filter(|block| block.path.starts_with("vms.")).collect();
        for (meant, _) in INNER {
            assert!(all.iter().any(|block| block.key(meant).is_some()), "{meant}");
        }
    }

    #[test]
    fn a_shared_directory_with_a_key_is_told_as_what_it_means() {
        let told = unknown("virtiofs_luks_key", &["vcpu"]);
        assert!(told.contains("will not open"), "{told}");
        assert!(unknown("memory", &["ram_mb"]).contains("`ram_mb` is what it is called here"));
        assert!(unknown("vpcu", &["vcpu"]).contains("did you mean `vcpu`?"));
    }
}
