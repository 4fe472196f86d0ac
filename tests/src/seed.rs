//! The machine of the stories: a hypervisor with one OS disk, three for VMs, three for bulk
//! data, a disk that nobody names, a key stick, and the medium as a stick.

use std::path::Path;

use bedplate_qemu_harness::machine::{Disk, DiskKind, Firmware, Format, Lan, Machine};

/// The machine's name in `host.toml`.
pub const HOST: &str = "hypervisor";
/// The NIC.
pub const MAC: &str = "52:54:00:0b:ed:01";
/// VFAT volume id of the key stick.
pub const STICK: &str = "1A2B-3C4D";
/// Role of the disk that nobody names.
pub const CANARY: &str = "canary";
/// VFAT volume id of the second key stick.
pub const SECOND_STICK: &str = "5E6F-7A8B";
/// Role of the key stick.
pub const KEY: &str = "key";
/// Role of the second key stick.
pub const SECOND_KEY: &str = "key2";
/// Role of the medium.
pub const MEDIUM: &str = "medium";
/// Role of the disk with a copy of the OS disk's EFI system partition, and with nothing else.
pub const MIRROR: &str = "mirror";
/// Roles of the disks that are installed to, the mirror apart, and the pool each belongs to.
pub const INSTALLED: [(&str, Option<&str>); 7] = [
    ("os", None),
    ("vm1", Some("vmstore")),
    ("vm2", Some("vmstore")),
    ("vm3", Some("vmstore")),
    ("bulk1", Some("bulk")),
    ("bulk2", Some("bulk")),
    ("bulk3", Some("bulk")),
];
/// Pools and their mount points.
pub const POOLS: [(&str, &str); 2] = [("vmstore", "/mnt/vmstore"), ("bulk", "/mnt/bulk")];

const GIB: u64 = 1 << 30;

/// How large the disks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// As sold.
    True,
    /// Just enough.
    Small,
}

impl Sizes {
    fn of(self, role: &str) -> u64 {
        match (self, role) {
            (_, MIRROR) => 3 * GIB / 2,
            (Self::Small, "os") => 12 * GIB,
            (Self::Small, _) => 4 * GIB,
            (Self::True, "os" | "vm3") => 500_107_862_016,
            (Self::True, "vm1" | "vm2") => 1_000_204_886_016,
            (Self::True, "bulk1") => 4_000_787_030_016,
            (Self::True, _) => 2_000_398_934_016,
        }
    }
}

/// The disks that are installed to, in `directory`.
pub fn installed_disks(directory: &Path, sizes: Sizes) -> Vec<Disk> {
    let disk = |role: &str| Disk {
        role: role.to_owned(),
        kind: match role {
            "bulk1" => DiskKind::SataHdd { model: "WDC_WD40EFRX-68N32N0".into() },
            "bulk2" | "bulk3" => DiskKind::SataHdd { model: "WDC_WD20EFRX-68EUZN0".into() },
            _ => DiskKind::Nvme,
        },
        serial: format!("BP{}0001", role.to_uppercase()),
        size: sizes.of(role),
        file: directory.join(format!("{role}.qcow2")),
        format: Format::Qcow2,
        read_only: false,
        boot_index: match role {
            "os" => Some(1),
            MIRROR => Some(2),
            _ => None,
        },
    };
    // At true sizes the machine is as its owner has it.
    let mirror = (sizes == Sizes::Small).then_some(MIRROR);
    INSTALLED.iter().map(|(role, _)| *role).chain(mirror).map(disk).collect()
}

/// The key stick: blank until the installer makes its file system.
pub fn key_stick(directory: &Path) -> Disk {
    Disk {
        role: KEY.into(),
        kind: DiskKind::UsbStick,
        serial: "BPKEY0001".into(),
        size: 1 << 30,
        file: directory.join("key.img"),
        format: Format::Raw,
        read_only: false,
        boot_index: None,
    }
}

/// The second key stick, which the installer gives the same keys.
pub fn second_key_stick(directory: &Path) -> Disk {
    Disk {
        role: SECOND_KEY.into(),
        serial: "BPKEY0002".into(),
        size: 64 << 20,
        file: directory.join("key2.img"),
        ..key_stick(directory)
    }
}

/// The disk that nobody names.
pub fn canary(directory: &Path) -> Disk {
    Disk {
        role: CANARY.into(),
        kind: DiskKind::VirtioBlk,
        serial: "BPCANARY0001".into(),
        size: bedplate_qemu_harness::canary::SIZE,
        file: directory.join("canary.img"),
        format: Format::Raw,
        read_only: false,
        boot_index: None,
    }
}

/// The medium as a USB stick.
pub fn medium(file: &Path, size: u64) -> Disk {
    Disk {
        role: MEDIUM.into(),
        kind: DiskKind::UsbStick,
        serial: "BPMEDIUM0001".into(),
        size,
        file: file.to_owned(),
        format: Format::Raw,
        read_only: true,
        boot_index: Some(0),
    }
}

/// The machine around some disks.
pub fn machine(name: &str, disks: Vec<Disk>, memory_mib: u32, ssh_port: u16) -> Machine {
    Machine {
        name: name.to_owned(),
        memory_mib,
        cpus: 2,
        firmware: Firmware::ovmf(),
        kernel: None,
        disks,
        networks: vec![Lan {
            cidr: "192.168.1.0/24".into(),
            mac: MAC.into(),
            forwards: vec![(ssh_port, 22)],
        }],
        cable: None,
    }
}
