//! The XML of a domain, written by a writer that escapes.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::host::{DiskBus, Firmware, GuestNic, HostFile, UsbDevice, Vm};
use bedplate_model::identity::{self, Purpose};
use quick_xml::Writer;
use quick_xml::events::BytesText;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::accelerator::Accelerator;
use super::seed;
use bedplate_tools::digest;

/// Namespace of our element in a domain's metadata.
pub const NAMESPACE: &str = "urn:bedplate:vm:1";

/// Namespace of arguments that libvirt passes on to QEMU (libvirt's `drvqemu` manual).
const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// An instruction takes two to the power of this in nanoseconds (QEMU's `-icount`): a guest ticks 250
/// times a second, every 4 ms, and has 250,000 instructions in them.
const INSTRUCTION_SHIFT: u8 = 4;

/// The newest version of the machine that QEMU knows; libvirt writes down which that is.
pub const NEWEST: &str = "q35";

type Xml = Writer<Vec<u8>>;
type Attributes<'a> = &'a [(&'a str, &'a str)];

/// A domain as it should be defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Hash of everything that follows from the intent.
    pub intent: String,
    /// The document, with the hash in its metadata.
    pub xml: String,
}

/// Where the disk of a machine is.
pub fn disk_path(directory: &Path, vm: &Vm) -> PathBuf {
    match (&vm.disk_image, &vm.existing_disk) {
        (Some(image), _) => PathBuf::from(&image.dest),
        (None, Some(file)) => directory.join(file),
        (None, None) => directory.join("disk.qcow2"),
    }
}

/// The UUID of a machine.
pub fn uuid(intent: &HostFile, name: &str) -> Uuid {
    identity::derive(intent.host.id, Purpose::Domain, name, 0)
}

/// Defines `vm`, whose files are in `directory`.
pub fn define(
    intent: &HostFile,
    name: &str,
    vm: &Vm,
    directory: &Path,
    accelerator: Accelerator,
) -> io::Result<Definition> {
    define_as(intent, name, vm, directory, accelerator, NEWEST)
}

/// As [`define`], for a guest that stays in the machine that it was first defined with: what follows
/// from the intent does not depend on it.
pub fn define_as(
    intent: &HostFile,
    name: &str,
    vm: &Vm,
    directory: &Path,
    accelerator: Accelerator,
    machine: &str,
) -> io::Result<Definition> {
    let domain = Domain { intent, name, vm, directory, accelerator, machine };
    let bare = Domain { machine: NEWEST, ..domain }.write(None)?;
    let hash = digest::hexadecimal(&Sha256::digest(bare.as_bytes()));
    let xml = domain.write(Some(&hash))?;
    Ok(Definition { intent: hash, xml })
}

#[derive(Clone, Copy)]
struct Domain<'a> {
    machine: &'a str,
    intent: &'a HostFile,
    name: &'a str,
    vm: &'a Vm,
    directory: &'a Path,
    accelerator: Accelerator,
}

impl Domain<'_> {
    fn write(&self, hash: Option<&str>) -> io::Result<String> {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        let kind = ("type", self.accelerator.domain_type());
        let plain = [kind];
        let with_arguments = [kind, ("xmlns:qemu", QEMU_NAMESPACE)];
        let twice = self.accelerator == Accelerator::SoftwareTwice;
        let attributes = if twice { &with_arguments[..] } else { &plain[..] };
        within(&mut xml, "domain", attributes, |xml| {
            self.identity(xml)?;
            if let Some(hash) = hash {
                within(xml, "metadata", &[], |xml| {
                    let tag = [("xmlns:bedplate", NAMESPACE), ("intent", hash)];
                    empty(xml, "bedplate:vm", &tag)
                })?;
            }
            self.machine(xml)?;
            within(xml, "devices", &[], |xml| self.devices(xml))?;
            if twice { time_by_instructions(xml) } else { Ok(()) }
        })?;
        String::from_utf8(xml.into_inner()).map_err(io::Error::other)
    }

    fn identity(&self, xml: &mut Xml) -> io::Result<()> {
        text(xml, "name", &[], self.name)?;
        text(xml, "uuid", &[], &uuid(self.intent, self.name).to_string())
    }

    fn machine(&self, xml: &mut Xml) -> io::Result<()> {
        text(xml, "memory", &[("unit", "MiB")], &self.vm.ram_mb.to_string())?;
        text(xml, "vcpu", &[], &self.vm.vcpu.to_string())?;
        let firmware: Attributes<'_> = match self.vm.firmware {
            Firmware::Uefi | Firmware::UefiSecureBoot => &[("firmware", "efi")],
            Firmware::Bios => &[],
        };
        within(xml, "os", firmware, |xml| {
            text(xml, "type", &[("arch", "x86_64"), ("machine", self.machine)], "hvm")?;
            let feature = |xml: &mut Xml, name, enabled| {
                empty(xml, "feature", &[("enabled", enabled), ("name", name)])
            };
            match self.vm.firmware {
                Firmware::Bios => Ok(()),
                Firmware::Uefi => {
                    within(xml, "firmware", &[], |xml| feature(xml, "secure-boot", "no"))
                }
                Firmware::UefiSecureBoot => within(xml, "firmware", &[], |xml| {
                    feature(xml, "secure-boot", "yes")?;
                    feature(xml, "enrolled-keys", "yes")
                }),
            }
        })?;
        within(xml, "features", &[], |xml| {
            empty(xml, "acpi", &[])?;
            empty(xml, "apic", &[])?;
            // Without it the guest could rewrite the variables that Secure Boot stands on.
            match self.vm.firmware {
                Firmware::UefiSecureBoot => empty(xml, "smm", &[("state", "on")]),
                Firmware::Uefi | Firmware::Bios => Ok(()),
            }
        })?;
        self.processor(xml)?;
        self.clock(xml)?;
        text(xml, "on_poweroff", &[], "destroy")?;
        text(xml, "on_reboot", &[], "restart")?;
        text(xml, "on_crash", &[], "restart")
    }

    fn clock(&self, xml: &mut Xml) -> io::Result<()> {
        let utc = [("offset", "utc")];
        match self.accelerator {
            Accelerator::Kvm | Accelerator::Software => empty(xml, "clock", &utc),
            // Each look at the HPET leaves the translated code; the time-stamp counter stays in it.
            Accelerator::SoftwareTwice => within(xml, "clock", &utc, |xml| {
                empty(xml, "timer", &[("name", "hpet"), ("present", "no")])
            }),
        }
    }

    fn processor(&self, xml: &mut Xml) -> io::Result<()> {
        match self.accelerator {
            Accelerator::Kvm => empty(xml, "cpu", &[("mode", "host-passthrough")]),
            // The first model with all of x86-64-v2, which distributions ask for. Everything that
            // software emulates beyond it (five-level page tables, SVM) makes a guest slower.
            Accelerator::Software | Accelerator::SoftwareTwice => {
                let attributes = [("mode", "custom"), ("match", "exact"), ("check", "none")];
                within(xml, "cpu", &attributes, |xml| text(xml, "model", &[], "Nehalem"))
            }
        }
    }

    fn devices(&self, xml: &mut Xml) -> io::Result<()> {
        self.disk(xml)?;
        self.installer(xml)?;
        self.seed(xml)?;
        self.network(xml)?;
        within(xml, "serial", &[("type", "pty")], |xml| empty(xml, "target", &[("port", "0")]))?;
        within(xml, "console", &[("type", "pty")], |xml| {
            empty(xml, "target", &[("type", "serial"), ("port", "0")])
        })?;
        self.agent(xml)?;
        empty(xml, "memballoon", &[("model", "virtio")])?;
        within(xml, "rng", &[("model", "virtio")], |xml| {
            text(xml, "backend", &[("model", "random")], "/dev/urandom")
        })?;
        self.tpm(xml)?;
        // One of several of its kind is known by a number that changes: it is given while the guest runs.
        let known = self.vm.usb_devices.iter().filter(|device| !device.is_one());
        known.into_iter().try_for_each(|device| usb(xml, device))
    }

    fn disk(&self, xml: &mut Xml) -> io::Result<()> {
        let path = disk_path(self.directory, self.vm);
        let (device, bus) = match self.vm.disk_bus {
            DiskBus::Virtio => ("vda", "virtio"),
            DiskBus::Sata => ("sda", "sata"),
            DiskBus::Scsi => ("sda", "scsi"),
        };
        if self.vm.disk_bus == DiskBus::Scsi {
            empty(xml, "controller", &[("type", "scsi"), ("model", "virtio-scsi")])?;
        }
        within(xml, "disk", &[("type", "file"), ("device", "disk")], |xml| {
            empty(xml, "driver", &[("name", "qemu"), ("type", "qcow2"), ("discard", "unmap")])?;
            empty(xml, "source", &[("file", &path.to_string_lossy())])?;
            empty(xml, "target", &[("dev", device), ("bus", bus)])?;
            empty(xml, "boot", &[("order", "1")])
        })
    }

    /// No CD: VFAT has sectors of 512 bytes, and a CD of 2048.
    fn seed(&self, xml: &mut Xml) -> io::Result<()> {
        if self.vm.cloud_init.is_none() {
            return Ok(());
        }
        let path = seed::path(self.directory);
        within(xml, "disk", &[("type", "file"), ("device", "disk")], |xml| {
            empty(xml, "driver", &[("name", "qemu"), ("type", "raw")])?;
            empty(xml, "source", &[("file", &path.to_string_lossy())])?;
            empty(xml, "target", &[("dev", "vdz"), ("bus", "virtio")])?;
            empty(xml, "readonly", &[])
        })
    }

    fn agent(&self, xml: &mut Xml) -> io::Result<()> {
        if !self.vm.guest_agent {
            return Ok(());
        }
        within(xml, "channel", &[("type", "unix")], |xml| {
            empty(xml, "target", &[("type", "virtio"), ("name", "org.qemu.guest_agent.0")])
        })
    }

    fn tpm(&self, xml: &mut Xml) -> io::Result<()> {
        if !self.vm.tpm {
            return Ok(());
        }
        within(xml, "tpm", &[("model", "tpm-crb")], |xml| {
            empty(xml, "backend", &[("type", "emulator"), ("version", "2.0")])
        })
    }

    /// The empty disk comes first and does not boot; once installed, it does.
    fn installer(&self, xml: &mut Xml) -> io::Result<()> {
        let Some(iso) = &self.vm.iso_image else { return Ok(()) };
        within(xml, "disk", &[("type", "file"), ("device", "cdrom")], |xml| {
            empty(xml, "driver", &[("name", "qemu"), ("type", "raw")])?;
            empty(xml, "source", &[("file", &iso.dest)])?;
            // Disks on SATA and SCSI share their names.
            let device = if self.vm.disk_bus == DiskBus::Virtio { "sda" } else { "sdb" };
            empty(xml, "target", &[("dev", device), ("bus", "sata")])?;
            empty(xml, "readonly", &[])?;
            empty(xml, "boot", &[("order", "2")])
        })?;
        let local = [("type", "vnc"), ("autoport", "yes"), ("listen", "127.0.0.1")];
        empty(xml, "graphics", &local)?;
        within(xml, "video", &[], |xml| empty(xml, "model", &[("type", "vga")]))
    }

    fn network(&self, xml: &mut Xml) -> io::Result<()> {
        let host = self.intent.host.id;
        for (index, nic) in self.vm.all_nics().iter().enumerate() {
            let derived = match index.checked_sub(1) {
                None => identity::mac_address(host, self.name),
                Some(behind) => identity::mac_address_of(host, self.name, behind),
            };
            let mac = nic.mac_address.map_or(derived.as_str(), |mac| mac.as_str());
            self.card(xml, nic, mac)?;
        }
        Ok(())
    }

    fn card(&self, xml: &mut Xml, nic: &GuestNic<'_>, mac: &str) -> io::Result<()> {
        within(xml, "interface", &[("type", "bridge")], |xml| {
            empty(xml, "mac", &[("address", mac)])?;
            empty(xml, "source", &[("bridge", nic.bridge)])?;
            if let Some(vlan) = nic.vlan {
                // Of a bridge of Linux, libvirt 11 sets it; the bridge must know VLANs.
                let tag = vlan.to_string();
                within(xml, "vlan", &[], |xml| empty(xml, "tag", &[("id", &tag)]))?;
            }
            empty(xml, "model", &[("type", "virtio")])?;
            match self.accelerator {
                Accelerator::Kvm | Accelerator::Software => Ok(()),
                // It boots from its disk; the program that boots from a network takes it long to start.
                Accelerator::SoftwareTwice => empty(xml, "rom", &[("enabled", "no")]),
            }
        })
    }
}

/// Lets the guest's time follow what it has executed, in the place of the host's clock: however slow
/// the host is, so much is done between two ticks. While the guest waits, its time is the host's.
fn time_by_instructions(xml: &mut Xml) -> io::Result<()> {
    let setting = format!("shift={INSTRUCTION_SHIFT},sleep=on");
    within(xml, "qemu:commandline", &[], |xml| {
        ["-icount", &setting].iter().try_for_each(|word| empty(xml, "qemu:arg", &[("value", word)]))
    })
}

fn usb(xml: &mut Xml, device: &UsbDevice) -> io::Result<()> {
    let host = [("mode", "subsystem"), ("type", "usb"), ("managed", "yes")];
    within(xml, "hostdev", &host, |xml| {
        within(xml, "source", &[("startupPolicy", "optional")], |xml| {
            empty(xml, "vendor", &[("id", &device.vendor_id)])?;
            empty(xml, "product", &[("id", &device.product_id)])
        })
    })
}

fn within(
    xml: &mut Xml,
    name: &str,
    attributes: Attributes<'_>,
    inner: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    let element = xml.create_element(name).with_attributes(attributes.iter().copied());
    element.write_inner_content(inner).map(drop)
}

fn text(xml: &mut Xml, name: &str, attributes: Attributes<'_>, content: &str) -> io::Result<()> {
    let element = xml.create_element(name).with_attributes(attributes.iter().copied());
    element.write_text_content(BytesText::new(content)).map(drop)
}

fn empty(xml: &mut Xml, name: &str, attributes: Attributes<'_>) -> io::Result<()> {
    let element = xml.create_element(name).with_attributes(attributes.iter().copied());
    element.write_empty().map(drop)
}

#[cfg(test)]
pub(super) mod tests;
