//! From sections to the types of [`bedplate_model::host`]: virtual machines.

use super::keys::vms;
use super::section::Section;
use bedplate_model::host::{CloudInit, Download, UsbDevice, Vm, VmNic};
use bedplate_model::name::GuestName;

pub(super) fn vm(name: &GuestName, section: &Section<'_>) -> Vm {
    let image = |key| section.some_section(key).as_ref().map(download);
    let seed = section.some_section("cloud_init");
    Vm {
        state: section.choice("state", &vms::STATES),
        pool: section.name("pool"),
        vcpu: section.integer("vcpu"),
        ram_mb: section.integer("ram_mb"),
        mac_address: section.some_mac("mac_address"),
        disk_gb: section.some_integer("disk_gb"),
        disk_image: image("disk_image"),
        iso_image: image("iso_image"),
        existing_disk: section.some_text("existing_disk"),
        usb_devices: section.tables("usb_devices").iter().map(usb_device).collect(),
        bridge: section.text("bridge"),
        firmware: section.choice("firmware", &vms::FIRMWARES),
        autostart: section.boolean("autostart"),
        kind: section.choice("kind", &vms::KINDS),
        disk_bus: section.choice("disk_bus", &vms::BUSES),
        tpm: section.boolean("tpm"),
        guest_agent: section.boolean("guest_agent"),
        start_order: section.some_integer("start_order"),
        vlan: section.some_integer("vlan"),
        nics: section.tables("nics").iter().map(nic).collect(),
        cloud_init: seed.map(|seed| cloud_init(name, &seed)),
    }
}

fn nic(section: &Section<'_>) -> VmNic {
    VmNic {
        bridge: section.text("bridge"),
        mac_address: section.some_mac("mac_address"),
        vlan: section.some_integer("vlan"),
    }
}

fn cloud_init(name: &str, section: &Section<'_>) -> CloudInit {
    let hostname = || name.to_ascii_lowercase().replace('_', "-").trim_matches('-').to_owned();
    CloudInit {
        hostname: section.some_text("hostname").unwrap_or_else(hostname),
        user: section.text("user"),
        ssh_keys: section.texts("ssh_keys"),
        packages: section.texts("packages"),
    }
}

fn download(section: &Section<'_>) -> Download {
    Download {
        url: section.text("url"),
        sha256: section.text("sha256"),
        dest: section.text("dest"),
    }
}

fn usb_device(section: &Section<'_>) -> UsbDevice {
    UsbDevice {
        vendor_id: section.text("vendor_id").to_ascii_lowercase(),
        product_id: section.text("product_id").to_ascii_lowercase(),
        serial: section.some_text("serial"),
        port: section.some_text("port"),
    }
}
