//! A machine as data, and the arguments that make QEMU run it.

use std::path::{Path, PathBuf};

use crate::accelerator::Accelerator;

/// Where a guest on the LAN reaches servers on 127.0.0.1 of this machine.
pub const HOST_ADDRESS: &str = "192.168.1.2";
/// The first lease that the LAN gives.
pub const FIRST_LEASE: &str = "192.168.1.15";
/// Slot of the first NIC, behind those of disks and of the cable.
const FIRST_LAN_SLOT: usize = 101;
/// Name of the virtio port on which an installer writes events.
pub const EVENT_PORT: &str = "org.bedplate.events";

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Name, for files and messages.
    pub name: String,
    /// Memory of the guest in MiB.
    pub memory_mib: u32,
    /// How many virtual processors the guest has.
    pub cpus: u32,
    /// What QEMU starts the machine with.
    pub firmware: Firmware,
    /// A kernel that the firmware starts at once, in the place of a boot loader.
    pub kernel: Option<Kernel>,
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// The networks it is in, each by a NIC of its own.
    pub networks: Vec<Lan>,
    /// A cable to another machine, if any.
    pub cable: Option<Cable>,
}

/// A kernel handed over by QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The image.
    pub image: PathBuf,
    /// The initial file system.
    pub initrd: PathBuf,
    /// The command line.
    pub command_line: String,
}

/// What a machine is started with, before any boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, the legacy BIOS that QEMU brings along.
    Bios,
    /// OVMF; the variables are copied per machine, once, so that boot entries survive.
    Uefi {
        /// The code, read-only.
        code: PathBuf,
        /// The variables a new machine starts with.
        vars: PathBuf,
    },
}

impl Firmware {
    /// OVMF without Secure Boot, as Debian installs it.
    pub fn ovmf() -> Self {
        Self::Uefi {
            code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
            vars: "/usr/share/OVMF/OVMF_VARS_4M.fd".into(),
        }
    }
}

/// A disk with an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Short name, unique in the machine.
    pub role: String,
    /// How it is attached.
    pub kind: DiskKind,
    /// Serial number.
    pub serial: String,
    /// Size in bytes.
    pub size: u64,
    /// The image.
    pub file: PathBuf,
    /// Format of the image.
    pub format: Format,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// Place in the firmware's boot order.
    pub boot_index: Option<u32>,
}

/// How a disk is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskKind {
    /// NVMe behind a root port of its own.
    Nvme,
    /// Rotating, on the chipset's AHCI: at most six.
    SataHdd {
        /// Model as the disk reports it, part of its by-id name `ata-MODEL_SERIAL`.
        model: String,
    },
    /// USB mass storage.
    UsbStick,
    /// Paravirtualised, a device `virtio-blk-pci` of its own.
    VirtioBlk,
}

/// Format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// qcow2, the format of QEMU: clusters that were never written take no room.
    Qcow2,
    /// The bytes that the guest sees, and nothing else.
    Raw,
    /// Served over NBD: the disk's file is the server's socket, its role the name of the export.
    Nbd,
}

impl Format {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw | Self::Nbd => "raw",
        }
    }
}

impl Disk {
    /// The name under `/dev/disk/by-id` that udev gives the disk.
    pub fn by_id(&self) -> String {
        match &self.kind {
            DiskKind::Nvme => format!("nvme-QEMU_NVMe_Ctrl_{}", self.serial),
            DiskKind::SataHdd { model } => format!("ata-{model}_{}", self.serial),
            DiskKind::UsbStick => format!("usb-QEMU_QEMU_HARDDISK_{}-0:0", self.serial),
            DiskKind::VirtioBlk => format!("virtio-{}", self.serial),
        }
    }
}

/// A LAN of the machine: user networking with DHCP, its second address ([`HOST_ADDRESS`] in
/// 192.168.1.0/24) being this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lan {
    /// Network, such as `192.168.1.0/24`.
    pub cidr: String,
    /// The NIC's MAC address.
    pub mac: String,
    /// Ports of 127.0.0.1 here, and the ports of the first lease they lead to.
    pub forwards: Vec<(u16, u16)>,
}

/// A cable between the NICs of two machines, with nothing else on it: no DHCP, no router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The socket that both ends name; its path must be short.
    pub socket: PathBuf,
    /// Which end this is.
    pub end: CableEnd,
    /// The NIC's MAC address.
    pub mac: String,
}

/// One end of a [`Cable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CableEnd {
    /// Of the machine that is started first.
    First,
    /// Of the machine that is started second.
    Second,
}

/// Where a running machine keeps its files and sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The machine's copy of the firmware variables.
    pub vars: PathBuf,
    /// QMP socket.
    pub qmp: PathBuf,
    /// Socket of the event port.
    pub events: PathBuf,
}

impl Places {
    /// Variables in `directory`, sockets in `sockets` (whose path must be short).
    pub fn new(machine: &Machine, directory: &Path, sockets: &Path) -> Self {
        Self {
            vars: directory.join(format!("{}.vars.fd", machine.name)),
            qmp: sockets.join("qmp"),
            events: sockets.join("events"),
        }
    }
}

impl Machine {
    /// QEMU's arguments.
    pub fn arguments(&self, accelerator: Accelerator, places: &Places) -> Vec<String> {
        let mut line = Line(Vec::new());
        line.push("-name", self.name.clone());
        line.push("-M", "q35".to_owned());
        line.0.extend(accelerator.arguments().map(str::to_owned));
        line.push("-smp", accelerator.processors(self.cpus));
        line.push("-m", self.memory_mib.to_string());
        line.0.extend(["-nodefaults", "-display", "none"].map(str::to_owned));
        // A guest that goes down leaves QEMU waiting, so that its counters can still be asked for.
        line.0.extend(["-no-reboot", "-no-shutdown"].map(str::to_owned));
        line.device("VGA".to_owned());
        self.firmware_arguments(places, &mut line);
        if let Some(kernel) = &self.kernel {
            line.push("-kernel", kernel.image.display().to_string());
            line.push("-initrd", kernel.initrd.display().to_string());
            line.push("-append", kernel.command_line.clone());
        }
        line.push("-chardev", "stdio,id=serial,signal=off".to_owned());
        line.push("-serial", "chardev:serial".to_owned());
        line.push("-qmp", format!("unix:{},server=on,wait=off", places.qmp.display()));
        line.push(
            "-chardev",
            format!("socket,id=events,path={},server=on,wait=off", places.events.display()),
        );
        line.device("virtio-serial-pci".to_owned());
        line.device(format!("virtserialport,chardev=events,name={EVENT_PORT}"));
        line.device("virtio-rng-pci".to_owned());
        line.device("qemu-xhci,id=usb,p2=8,p3=8".to_owned());
        let mut sata = 0;
        for (index, disk) in self.disks.iter().enumerate() {
            attach(disk, index, &mut sata, &mut line);
        }
        for (index, lan) in self.networks.iter().enumerate() {
            lan.arguments(index, &mut line);
        }
        if let Some(cable) = &self.cable {
            cable.arguments(&mut line);
        }
        line.0
    }

    fn firmware_arguments(&self, places: &Places, line: &mut Line) {
        let Firmware::Uefi { code, .. } = &self.firmware else { return };
        let flash = "if=pflash,format=raw";
        line.push("-drive", format!("{flash},readonly=on,file={}", code.display()));
        line.push("-drive", format!("{flash},file={}", places.vars.display()));
    }
}

struct Line(Vec<String>);

impl Line {
    fn push(&mut self, flag: &str, value: String) {
        self.0.extend([flag.to_owned(), value]);
    }

    fn device(&mut self, value: String) {
        self.push("-device", value);
    }
}

fn attach(disk: &Disk, index: usize, sata: &mut u32, line: &mut Line) {
    let Disk { role, serial, .. } = disk;
    let read_only = if disk.read_only { ",readonly=on" } else { "" };
    let file = disk.file.display();
    let (source, cache) = match disk.format {
        Format::Nbd => (
            format!(
                "file.driver=nbd,file.server.type=unix,file.server.path={file},file.export={role}"
            ),
            over_nbd(&disk.kind),
        ),
        _ if disk.read_only => (format!("file={file}"), ""),
        _ => (format!("file={file}"), ",cache=unsafe,discard=unmap"),
    };
    let format = disk.format.name();
    line.push("-drive", format!("{source},if=none,id={role},format={format}{cache}{read_only}"));
    let boot = disk.boot_index.map(|index| format!(",bootindex={index}")).unwrap_or_default();
    let drive = format!("drive={role},id=dev-{role},serial={serial}{boot}");
    match &disk.kind {
        DiskKind::Nvme => {
            let chassis = index + 1;
            line.device(format!("pcie-root-port,id=port-{role},chassis={chassis},slot={chassis}"));
            line.device(format!("nvme,bus=port-{role},{drive}"));
        }
        DiskKind::SataHdd { model } => {
            line.device(format!("ide-hd,bus=ide.{sata},{drive},model={model},rotation_rate=5400"));
            *sata += 1;
        }
        DiskKind::UsbStick => line.device(format!("usb-storage,bus=usb.0,{drive}")),
        DiskKind::VirtioBlk => line.device(format!("virtio-blk-pci,{drive}")),
    }
}

/// The server decides what is kept; every flush of the guest has to reach it.
///
/// QEMU's NVMe (up to 7.2 at least) promises FUA and does not do it: in a recorded installation
/// none of 1258 writes to such a disk had the flag, and superblocks of btrfs stood right after a
/// flush with none behind them. A cut then loses what Linux was told is durable, and what is left
/// is no state that a disk may be in: the kernel refuses it ("parent transid verify failed").
/// Such a disk is one without a cache, whose every write reaches the server with FUA. The other
/// kinds promise no FUA: Linux sends a flush after the write in its place.
fn over_nbd(kind: &DiskKind) -> &'static str {
    match kind {
        DiskKind::Nvme => ",cache=directsync,discard=unmap",
        DiskKind::SataHdd { .. } | DiskKind::UsbStick | DiskKind::VirtioBlk => {
            ",cache=none,discard=unmap"
        }
    }
}

impl Lan {
    fn arguments(&self, index: usize, line: &mut Line) {
        let forwards: String = self
            .forwards
            .iter()
            .map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-{FIRST_LEASE}:{there}"))
            .collect();
        let (lan, slot) = (format!("lan{index}"), FIRST_LAN_SLOT + index);
        line.push("-netdev", format!("user,id={lan},net={}{forwards}", self.cidr));
        line.device(format!("pcie-root-port,id=port-{lan},chassis={slot},slot={slot}"));
        let mac = &self.mac;
        line.device(format!("virtio-net-pci,bus=port-{lan},netdev={lan},mac={mac},romfile="));
    }
}

impl Cable {
    fn arguments(&self, line: &mut Line) {
        let server = match self.end {
            CableEnd::First => "on",
            CableEnd::Second => "off",
        };
        let socket = self.socket.display();
        line.push(
            "-netdev",
            format!("stream,id=cable,server={server},addr.type=unix,addr.path={socket}"),
        );
        line.device("pcie-root-port,id=port-cable,chassis=100,slot=100".to_owned());
        line.device(format!(
            "virtio-net-pci,bus=port-cable,netdev=cable,mac={},romfile=",
            self.mac
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(role: &str, kind: DiskKind) -> Disk {
        Disk {
            role: role.into(),
            kind,
            serial: role.to_uppercase(),
            size: 1 << 30,
            file: format!("/d/{role}").into(),
            format: Format::Qcow2,
            read_only: false,
            boot_index: None,
        }
    }

    fn machine() -> Machine {
        let model = "WDC_WD40EFRX-68N32N0".to_owned();
        let mut iso = disk("iso", DiskKind::UsbStick);
        (iso.read_only, iso.boot_index, iso.format) = (true, Some(0), Format::Raw);
        Machine {
            name: "seed".into(),
            memory_mib: 3072,
            cpus: 2,
            firmware: Firmware::ovmf(),
            kernel: None,
            disks: vec![
                disk("os", DiskKind::Nvme),
                disk("bulk1", DiskKind::SataHdd { model: model.clone() }),
                disk("bulk2", DiskKind::SataHdd { model }),
                iso,
            ],
            networks: vec![Lan {
                cidr: "192.168.1.0/24".into(),
                mac: "52:54:00:00:00:01".into(),
                forwards: vec![(2222, 22)],
            }],
            cable: Some(Cable {
                socket: "/s/cable".into(),
                end: CableEnd::First,
                mac: "52:54:00:00:00:02".into(),
            }),
        }
    }

    #[test]
    fn the_arguments_of_a_machine() {
        let machine = machine();
        let places = Places::new(&machine, Path::new("/d"), Path::new("/s"));
        let arguments = machine.arguments(Accelerator::Tcg, &places).join("\n");
        insta::assert_snapshot!(arguments);
    }

    #[test]
    fn a_disk_over_nbd_passes_flushes_on_and_a_kernel_comes_without_a_boot_loader() {
        let mut machine = machine();
        machine.disks.truncate(2);
        for disk in &mut machine.disks {
            disk.format = Format::Nbd;
        }
        machine.kernel = Some(Kernel {
            image: "/k".into(),
            initrd: "/i".into(),
            command_line: "console=ttyS0 quiet".into(),
        });
        let places = Places::new(&machine, Path::new("/d"), Path::new("/s"));
        let arguments = machine.arguments(Accelerator::Tcg, &places);
        let after = |flag: &str| {
            let place = arguments.iter().rposition(|word| word == flag).unwrap();
            arguments[place + 1].as_str()
        };
        assert_eq!(
            after("-drive"),
            "file.driver=nbd,file.server.type=unix,file.server.path=/d/bulk1,file.export=bulk1,\
             if=none,id=bulk1,format=raw,cache=none,discard=unmap"
        );
        let nvme = arguments.iter().find(|word| word.contains("id=os,format")).unwrap();
        assert!(nvme.contains("cache=directsync"), "its FUA gets lost: {nvme}");
        assert_eq!((after("-kernel"), after("-initrd")), ("/k", "/i"));
        assert_eq!(after("-append"), "console=ttyS0 quiet");
    }

    #[test]
    fn disks_are_known_by_the_names_udev_gives() {
        let names: Vec<String> = machine().disks.iter().map(Disk::by_id).collect();
        assert_eq!(
            names,
            [
                "nvme-QEMU_NVMe_Ctrl_OS",
                "ata-WDC_WD40EFRX-68N32N0_BULK1",
                "ata-WDC_WD40EFRX-68N32N0_BULK2",
                "usb-QEMU_QEMU_HARDDISK_ISO-0:0"
            ]
        );
    }
}
