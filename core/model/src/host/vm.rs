//! `[vms.<name>]`: virtual machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pool;
use super::guest::{Guest, GuestNic, GuestSection, State, directory};
use crate::name::{GuestName, Mac, PoolName};

/// Section `[vms.<name>]` of `host.toml`: one virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Present or absent.
    pub state: State,
    /// Name of the pool whose `<mount>/<vm>/` directory holds the VM's files.
    pub pool: PoolName,
    /// Virtual processors.
    pub vcpu: u32,
    /// Memory in MiB.
    pub ram_mb: u32,
    /// MAC address; derived from `host.id` and the name when absent.
    pub mac_address: Option<Mac>,
    /// Wanted size of the disk in GiB; a disk is only ever enlarged.
    pub disk_gb: Option<u32>,
    /// A disk image to start from.
    pub disk_image: Option<Download>,
    /// An installer ISO to boot once, with an empty disk.
    pub iso_image: Option<Download>,
    /// Name of the file in the VM's directory that is its disk already: it is neither fetched nor
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_disk: Option<String>,
    /// USB devices handed through.
    pub usb_devices: Vec<UsbDevice>,
    /// Bridge the VM's NIC stands on.
    pub bridge: String,
    /// What it boots with: legacy BIOS, or UEFI with or without Secure Boot.
    pub firmware: Firmware,
    /// Whether it is started at boot.
    pub autostart: bool,
    /// What runs in it, where that settles how the machine must be.
    #[serde(default, skip_serializing_if = "VmKind::is_generic")]
    pub kind: VmKind,
    /// What its disk hangs on.
    #[serde(default, skip_serializing_if = "DiskBus::is_virtio")]
    pub disk_bus: DiskBus,
    /// Whether it has a TPM 2.0.
    #[serde(default, skip_serializing_if = "super::is_off")]
    pub tpm: bool,
    /// Whether it has the channel of the QEMU guest agent.
    #[serde(default = "on", skip_serializing_if = "is_on")]
    pub guest_agent: bool,
    /// Its place among those that are started at boot, the lowest first; without one it comes
    /// after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_order: Option<u32>,
    /// The VLAN its NIC is in; without one, that of untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u32>,
    /// NICs behind the first, which `bridge`, `mac_address` and `vlan` describe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<VmNic>,
    /// What cloud-init is told at the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
}

/// One of `[[vms.<name>.nics]]`: a NIC behind the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmNic {
    /// Bridge that it stands on.
    pub bridge: String,
    /// MAC address; derived from `host.id`, the VM's name and the NIC's place when absent.
    pub mac_address: Option<Mac>,
    /// The VLAN that it is in; without one, that of untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u32>,
}

impl Vm {
    /// All its NICs, the first one first.
    pub fn all_nics(&self) -> Vec<GuestNic<'_>> {
        let first = GuestNic {
            place: String::new(),
            bridge: &self.bridge,
            mac_address: self.mac_address.as_ref(),
            vlan: self.vlan,
        };
        let more = self.nics.iter().enumerate().map(|(index, nic)| GuestNic {
            place: format!("nics[{index}]."),
            bridge: &nic.bridge,
            mac_address: nic.mac_address.as_ref(),
            vlan: nic.vlan,
        });
        std::iter::once(first).chain(more).collect()
    }
}

impl GuestSection for Vm {
    const SECTION: &'static str = "vms";

    fn guest<'a>(&'a self, name: &'a GuestName, pools: &BTreeMap<PoolName, Pool>) -> Guest<'a> {
        Guest {
            section: Self::SECTION,
            name,
            state: self.state,
            pool: &self.pool,
            nics: self.all_nics(),
            owns: directory(&self.pool, name, pools),
        }
    }
}

/// What runs in a VM, where that settles how the machine must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmKind {
    /// Any guest: nothing is settled by what runs in it.
    #[default]
    Generic,
    /// Home Assistant OS.
    Haos,
}

impl VmKind {
    fn is_generic(&self) -> bool {
        *self == Self::Generic
    }
}

/// What the disk of a VM hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskBus {
    /// A virtio block device.
    #[default]
    Virtio,
    /// SATA, for guests without virtio drivers.
    Sata,
    /// SCSI on a virtio controller.
    Scsi,
}

impl DiskBus {
    fn is_virtio(&self) -> bool {
        *self == Self::Virtio
    }
}

/// `[vms.<name>.cloud_init]`: what a cloud image is told at its first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// Host name of the guest.
    pub hostname: String,
    /// The account that is made, with `sudo`.
    pub user: String,
    /// Who may log in to it.
    pub ssh_keys: Vec<String>,
    /// Packages that are installed.
    pub packages: Vec<String>,
}

fn on() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_on(switch: &bool) -> bool {
    *switch
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// `http://` or `https://` address.
    pub url: String,
    /// SHA-256 of the bytes downloaded (before extraction), lower-case hexadecimal.
    pub sha256: String,
    /// Final path on the host, inside the VM's directory.
    pub dest: String,
}

/// A USB device by vendor and product, and by what tells it from another of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbDevice {
    /// Vendor id, such as `0x1a86`.
    pub vendor_id: String,
    /// Product id, such as `0x7523`.
    pub product_id: String,
    /// Serial number, as it tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Where it is plugged in, as the kernel names it: `1-1.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

impl UsbDevice {
    /// Whether it is told from another of its kind.
    pub fn is_one(&self) -> bool {
        self.serial.is_some() || self.port.is_some()
    }
}

/// Firmware of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// SeaBIOS, a legacy BIOS.
    Bios,
    /// OVMF without Secure Boot.
    Uefi,
    /// OVMF with Secure Boot on and Microsoft's keys enrolled.
    UefiSecureBoot,
}
