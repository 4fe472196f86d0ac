//! Virtual machines, and what each kind of guest means by what it leaves out.

use super::{Absent::*, Block, Defaults, Form::*, Place::*, Value, block, key, words};
use crate::{addresses, rules};
use bedplate_model::host::{DiskBus, Firmware, State, VmKind};

pub(crate) const STATES: [(&str, State); 2] = [("present", State::Present), ("absent", State::Absent)];
pub(crate) const KINDS: [(&str, VmKind); 2] = [("generic", VmKind::Generic), ("haos", VmKind::Haos)];
pub(crate) const FIRMWARES: [(&str, Firmware); 3] = [
    ("uefi", Firmware::Uefi),
    ("uefi-secure-boot", Firmware::UefiSecureBoot),
    ("bios", Firmware::Bios),
];
pub(crate) const BUSES: [(&str, DiskBus); 3] = [("virtio", DiskBus::Virtio), ("sata", DiskBus::Sata), ("scsi", DiskBus::Scsi)];

/// For Home Assistant OS what its makers say of libvirt: two processors, 4 GiB of memory, 32 GB of
/// disk on virtio-scsi, UEFI without Secure Boot, the channel of the guest agent
/// (<https://www.home-assistant.io/installation/linux>).
const HAOS: Defaults = &[
    ("ram_mb", Value::Integer(4096)),
    ("disk_gb", Value::Integer(32)),
    ("disk_bus", Value::Text("scsi")),
];

pub(super) const GUEST: Block = Block { path: "vms.<name>", kinds: &[("haos", HAOS)], one_of: &[], keys: &[
    key("state", Choice(&words(STATES)), Default(Value::Text("present")), Machines, "\"present\"", "`present`, or `absent`: stopped, undefined, its directory deleted."),
    key("kind", Choice(&words(KINDS)), Default(Value::Text("generic")), Machines, "\"haos\"", "`generic`, or `haos` for Home Assistant OS: what its makers say of memory, disk and bus where nothing else is written, and never Secure Boot."),
    key("pool", Text(rules::pool), Default(Value::Text("vmstore")), Machines, "\"vmstore\"", "Pool whose `<mount>/<vm>/` holds the VM's files."),
    key("vcpu", Integer(1, 512), Default(Value::Integer(2)), Machines, "2", "Virtual processors."),
    key("ram_mb", Integer(64, 16_777_216), Default(Value::Integer(2048)), Machines, "4096", "Memory in MiB."),
    key("mac_address", Text(rules::mac), Derived("derived from host.id and the name"), Machines, "\"52:54:00:12:34:56\"", "MAC address."),
    key("disk_gb", Integer(1, 1_000_000), Derived("the image's size"), Machines, "32", "Wanted size of the disk in GiB; only ever enlarged, while the machine runs too. Required with iso_image."),
    key("disk_image", Table(&DISK_IMAGE), Derived("none"), Inside, "", "A disk image to start from."),
    key("iso_image", Table(&ISO_IMAGE), Derived("none"), Inside, "", "An installer ISO, with an empty disk. Not together with disk_image."),
    key("existing_disk", Text(rules::disk_file), Derived("none"), Machines, "\"web.qcow2\"", "A disk that is there: the name of a qcow2 file in `<mount>/<vm>/`, put there by hand. It is neither fetched nor made. Not together with disk_image or iso_image."),
    key("usb_devices", Tables(&USB_DEVICE), Derived("none"), Inside, "[{ vendor_id = \"0x1a86\", product_id = \"0x7523\" }]", "USB devices handed through."),
    key("bridge", Text(rules::interface), Default(Value::Text("br0")), Machines, "\"br0\"", "Bridge of the VM's NIC."),
    key("vlan", Integer(1, 4094), Derived("that of untagged frames"), Machines, "20", "The VLAN its NIC is in; its bridge is `vlan_aware`."),
    key("nics", Tables(&NIC), Derived("none"), Inside, "[{ bridge = \"br1\" }]", "NICs behind the first, in their order."),
    key("firmware", Choice(&words(FIRMWARES)), Default(Value::Text("uefi")), Machines, "\"uefi\"", "`uefi`, `uefi-secure-boot` (with Microsoft's keys) or `bios`."),
    key("disk_bus", Choice(&words(BUSES)), Default(Value::Text("virtio")), Machines, "\"sata\"", "`virtio`, `scsi` (virtio-scsi), or `sata` for guests without virtio drivers."),
    key("tpm", Boolean, Default(Value::Boolean(false)), Machines, "true", "Whether it has a TPM 2.0."),
    key("guest_agent", Boolean, Default(Value::Boolean(true)), Machines, "false", "Whether it has the channel of the QEMU guest agent."),
    key("autostart", Boolean, Default(Value::Boolean(true)), Machines, "true", "Whether it starts at boot."),
    key("start_order", Integer(1, 1000), Derived("after all that have one"), Machines, "1", "Its place among those that start at boot."),
    key("cloud_init", Table(&CLOUD_INIT), Derived("none"), Inside, "{ ssh_keys = [\"ssh-ed25519 AAAA… me@laptop\"] }", "What a cloud image is told at its first start."),
] };

pub(super) const NIC: Block = block("vms.<name>.nics[]", &[
    key("bridge", Text(rules::interface), Required, Machines, "\"br1\"", "Bridge of the NIC."),
    key("mac_address", Text(rules::mac), Derived("derived from host.id, the VM's name and the place in the list"), Machines, "\"52:54:00:12:34:57\"", "MAC address."),
    key("vlan", Integer(1, 4094), Derived("that of untagged frames"), Machines, "30", "The VLAN the NIC is in; its bridge is `vlan_aware`."),
]);

pub(super) const CLOUD_INIT: Block = block("vms.<name>.cloud_init", &[
    key("hostname", Text(rules::host_name), Derived("the VM's name"), Machines, "\"apps\"", "Host name of the guest."),
    key("user", Text(rules::user), Default(Value::Text("admin")), Machines, "\"admin\"", "The account that is made, with sudo and without a password."),
    key("ssh_keys", Texts(rules::ssh_key), Derived("none"), Machines, "[\"ssh-ed25519 AAAA… me@laptop\"]", "Who may log in to it; one at least."),
    key("packages", Texts(rules::package), Derived("none"), Machines, "[\"qemu-guest-agent\"]", "Packages that are installed."),
]);

pub(super) const DISK_IMAGE: Block = block("vms.<name>.disk_image", &[
    key("url", Text(addresses::download), Required, Service, "\"https://example.org/image.qcow2.xz\"", "`http://` or `https://` address."),
    key("sha256", Text(rules::sha256), Required, Service, "\"<64 hexadecimal digits>\"", "SHA-256 of the bytes downloaded."),
    key("dest", Text(rules::absolute_path), Derived("\"<mount>/<vm>/<vm>.qcow2\""), Machines, "\"/mnt/vmstore/haos/haos.qcow2\"", "Final path, inside the VM's directory."),
]);

pub(super) const ISO_IMAGE: Block = block("vms.<name>.iso_image", &[
    key("url", Text(addresses::download), Required, Service, "\"https://example.org/installer.iso\"", "`http://` or `https://` address."),
    key("sha256", Text(rules::sha256), Required, Service, "\"<64 hexadecimal digits>\"", "SHA-256 of the bytes downloaded."),
    key("dest", Text(rules::absolute_path), Derived("\"<mount>/<vm>/installer.iso\""), Machines, "\"/mnt/vmstore/testvm/installer.iso\"", "Final path, inside the VM's directory."),
]);

pub(super) const USB_DEVICE: Block = block("vms.<name>.usb_devices[]", &[
    key("vendor_id", Text(rules::usb_id), Required, Machines, "\"0x1a86\"", "USB vendor id."),
    key("product_id", Text(rules::usb_id), Required, Machines, "\"0x7523\"", "USB product id."),
    key("serial", Text(rules::serial), Derived("none"), Service, "\"A50285BI\"", "Its serial number, which tells it from another of its kind."),
    key("port", Text(rules::usb_port), Derived("none"), Service, "\"1-1.4\"", "Where it is plugged in (`/sys/bus/usb/devices`), for one without a serial number of its own."),
]);
