//! From sections to the types of [`bedplate_model::host`]: virtual machines.

use std::collections::BTreeMap;

use super::addresses;
use super::rules::{self, Rule};
use super::section::Section;
use bedplate_model::host::{CloudInit, DiskBus, Download, Firmware, State, UsbDevice, Vm, VmKind};

pub(super) fn vms(root: &Section<'_>) -> BTreeMap<String, Vm> {
    let named = root.named("vms", "vms.<name>", rules::vm);
    let one = |(name, section): (String, Section<'_>)| {
        let machine = vm(&name, &section);
        (name, machine)
    };
    named.into_iter().map(one).collect()
}

const FIRMWARES: [(&str, Firmware); 3] = [
    ("uefi", Firmware::Uefi),
    ("uefi-secure-boot", Firmware::UefiSecureBoot),
    ("bios", Firmware::Bios),
];
const BUSES: [(&str, DiskBus); 3] =
    [("virtio", DiskBus::Virtio), ("sata", DiskBus::Sata), ("scsi", DiskBus::Scsi)];

/// What a key means where the document leaves it out.
struct Defaults {
    ram_mb: u32,
    disk_gb: Option<u32>,
    disk_bus: DiskBus,
}

/// For Home Assistant OS what its makers say of libvirt: two processors, 4 GiB of memory, 32 GB of
/// disk on virtio-scsi, UEFI without Secure Boot, the channel of the guest agent
/// (<https://www.home-assistant.io/installation/linux>).
fn defaults(kind: VmKind) -> Defaults {
    match kind {
        VmKind::Generic => Defaults { ram_mb: 2048, disk_gb: None, disk_bus: DiskBus::Virtio },
        VmKind::Haos => Defaults { ram_mb: 4096, disk_gb: Some(32), disk_bus: DiskBus::Scsi },
    }
}

fn vm(name: &str, section: &Section<'_>) -> Vm {
    let text = |name, rule: Rule, default: &str| {
        section.text(name, rule).unwrap_or_else(|| default.into())
    };
    let disk_image = section.section("disk_image", "vms.<name>.disk_image");
    let iso_image = section.section("iso_image", "vms.<name>.iso_image");
    let seed = section.section("cloud_init", "vms.<name>.cloud_init");
    let kinds = [("generic", VmKind::Generic), ("haos", VmKind::Haos)];
    let kind = section.choice("kind", &kinds).unwrap_or_default();
    let default = defaults(kind);
    Vm {
        state: section
            .choice("state", &[("present", State::Present), ("absent", State::Absent)])
            .unwrap_or(State::Present),
        pool: text("pool", rules::role, "vmstore"),
        vcpu: section.integer("vcpu", 1..=512).unwrap_or(2),
        ram_mb: section.integer("ram_mb", 64..=16_777_216).unwrap_or(default.ram_mb),
        mac_address: section.text("mac_address", rules::mac).map(|mac| mac.to_ascii_lowercase()),
        disk_gb: section.integer("disk_gb", 1..=1_000_000).or(default.disk_gb),
        disk_image: disk_image.as_ref().map(download),
        iso_image: iso_image.as_ref().map(download),
        usb_devices: section
            .tables("usb_devices", "vms.<name>.usb_devices[]")
            .iter()
            .map(usb_device)
            .collect(),
        bridge: text("bridge", rules::interface, "br0"),
        firmware: section.choice("firmware", &FIRMWARES).unwrap_or(Firmware::Uefi),
        autostart: section.boolean("autostart").unwrap_or(true),
        kind,
        disk_bus: section.choice("disk_bus", &BUSES).unwrap_or(default.disk_bus),
        tpm: section.boolean("tpm").unwrap_or(false),
        guest_agent: section.boolean("guest_agent").unwrap_or(true),
        start_order: section.integer("start_order", 1..=1000),
        vlan: section.integer("vlan", 1..=4094),
        cloud_init: seed.map(|seed| cloud_init(name, &seed)),
    }
}

fn cloud_init(name: &str, section: &Section<'_>) -> CloudInit {
    let hostname = || name.to_ascii_lowercase().replace('_', "-").trim_matches('-').to_owned();
    CloudInit {
        hostname: section.text("hostname", rules::host_name).unwrap_or_else(hostname),
        user: section.text("user", rules::user).unwrap_or_else(|| "admin".into()),
        ssh_keys: section.texts("ssh_keys", rules::ssh_key).unwrap_or_default(),
        packages: section.texts("packages", rules::package).unwrap_or_default(),
    }
}

fn download(section: &Section<'_>) -> Download {
    Download {
        url: section.text("url", addresses::download).unwrap_or_default(),
        sha256: section.text("sha256", rules::sha256).unwrap_or_default(),
        dest: section.text("dest", rules::absolute_path).unwrap_or_default(),
    }
}

fn usb_device(section: &Section<'_>) -> UsbDevice {
    let id = |name| section.text(name, rules::usb_id).unwrap_or_default().to_ascii_lowercase();
    UsbDevice {
        vendor_id: id("vendor_id"),
        product_id: id("product_id"),
        serial: section.text("serial", rules::serial),
        port: section.text("port", rules::usb_port),
    }
}
