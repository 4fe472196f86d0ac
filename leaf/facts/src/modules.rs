//! Kernel modules that drive a disk or a network interface, and what the processor's microcode is
//! called.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::roots::{Roots, names};

/// Modules behind a disk, by its kernel name, sorted: of the disk and of everything that it hangs
/// on, up to the root bus. What is built into the kernel may be among them.
pub fn of_disk(roots: &Roots, disk: &str) -> Vec<String> {
    collect(roots, &roots.sys.join("block").join(disk))
}

/// Modules behind a network interface, sorted.
pub fn of_nic(roots: &Roots, nic: &str) -> Vec<String> {
    collect(roots, &roots.sys.join("class/net").join(nic))
}

/// Whose microcode the processor takes: `intel`, `amd`, or none that we know.
pub fn microcode(roots: &Roots) -> Option<&'static str> {
    let table = fs::read_to_string(roots.proc.join("cpuinfo")).ok()?;
    let line = table.lines().find(|line| line.starts_with("vendor_id"))?;
    match line.split_once(':')?.1.trim() {
        "GenuineIntel" => Some("intel"),
        "AuthenticAMD" => Some("amd"),
        _ => None,
    }
}

fn collect(roots: &Roots, link: &Path) -> Vec<String> {
    let mut found = BTreeSet::new();
    let Ok(top) = fs::canonicalize(roots.sys.join("devices")) else { return Vec::new() };
    let Ok(device) = fs::canonicalize(link) else { return Vec::new() };
    climb(&top, &device, &mut found);
    // A disk that could have several paths stands below no bus; its controllers do.
    for path in controllers(&device) {
        climb(&top, &path, &mut found);
    }
    found.into_iter().collect()
}

/// The controllers of an NVMe disk that the kernel shows below its subsystem.
fn controllers(device: &Path) -> Vec<std::path::PathBuf> {
    let Some(subsystem) = device.parent().filter(|parent| {
        parent.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvme-subsys"))
    }) else {
        return Vec::new();
    };
    let links = names(subsystem).into_iter().map(|name| subsystem.join(name));
    links.filter(|path| path.is_symlink()).filter_map(|path| fs::canonicalize(path).ok()).collect()
}

/// The modules of the drivers of `device` and of everything above it.
fn climb(top: &Path, device: &Path, found: &mut BTreeSet<String>) {
    for place in device.ancestors().take_while(|place| place.starts_with(top) && *place != top) {
        let Ok(module) = fs::read_link(place.join("driver/module")) else { continue };
        let name = module.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        {
            found.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn sys(&self, path: &str) -> std::path::PathBuf {
            let path = self.0.path().join("sys").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        /// A device whose driver belongs to a module.
        fn driven(&self, device: &str, bus: &str, driver: &str, module: Option<&str>) {
            let place = self.sys(&format!("bus/{bus}/drivers/{driver}"));
            fs::create_dir_all(&place).unwrap();
            if let Some(module) = module {
                symlink(format!("../../../../module/{module}"), place.join("module")).unwrap();
            }
            symlink(place, self.sys(&format!("devices/{device}/driver"))).unwrap();
        }

        fn shown(&self, class: &str, device: &str) {
            let place = self.sys(&format!("devices/{device}"));
            fs::create_dir_all(&place).unwrap();
            let name = place.file_name().unwrap().to_str().unwrap().to_owned();
            symlink(&place, self.sys(&format!("{class}/{name}"))).unwrap();
        }

        fn roots(&self) -> Roots {
            Roots::below(self.0.path(), None)
        }
    }

    #[test]
    fn the_whole_chain_from_disk_to_bus_is_named_once_and_built_in_drivers_are_not() {
        let machine = Machine::new();
        let hba = "pci0000:00/0000:00:17.0";
        machine.driven(hba, "pci", "ahci", Some("ahci"));
        machine.driven("pci0000:00", "acpi", "bridge", None);
        for name in ["sda", "sdb"] {
            let lun = format!("{hba}/ata-{name}/host0/target0:0:0/0:0:0:0");
            if name == "sda" {
                machine.driven(&lun, "scsi", "sd", Some("sd_mod"));
            }
            machine.shown("block", &format!("{lun}/block/{name}"));
        }
        assert_eq!(of_disk(&machine.roots(), "sda"), ["ahci", "sd_mod"]);
        assert_eq!(of_disk(&machine.roots(), "sdb"), ["ahci"]);
        assert!(of_disk(&machine.roots(), "sdz").is_empty());
        assert!(of_disk(&machine.roots(), "../../etc").is_empty());
    }

    #[test]
    fn an_nvme_disk_with_several_paths_is_followed_to_its_controllers() {
        let machine = Machine::new();
        machine.driven("pci0000:00/0000:01:00.0", "pci", "nvme", Some("nvme"));
        let controller = machine.sys("devices/pci0000:00/0000:01:00.0/nvme/nvme0");
        fs::create_dir_all(&controller).unwrap();
        let subsystem = "virtual/nvme-subsystem/nvme-subsys0";
        machine.shown("block", &format!("{subsystem}/nvme0n1"));
        symlink(controller, machine.sys(&format!("devices/{subsystem}/nvme0"))).unwrap();
        assert_eq!(of_disk(&machine.roots(), "nvme0n1"), ["nvme"]);
    }

    #[test]
    fn t16_a_network_card_is_named_and_a_module_with_a_strange_name_is_not() {
        let machine = Machine::new();
        machine.driven("pci0000:00/0000:05:00.0", "pci", "virtio-pci", Some("virtio_pci"));
        let card = "pci0000:00/0000:05:00.0/virtio0";
        machine.driven(card, "virtio", "virtio_net", Some("virtio_net"));
        machine.shown("class/net", &format!("{card}/net/enp5s0"));
        machine.driven("platform/odd", "platform", "odd", Some("odd\"; rm"));
        machine.shown("class/net", "platform/odd/net/odd0");
        assert_eq!(of_nic(&machine.roots(), "enp5s0"), ["virtio_net", "virtio_pci"]);
        assert!(of_nic(&machine.roots(), "odd0").is_empty());
    }

    #[test]
    fn microcode_goes_by_the_vendor_of_the_processor() {
        let machine = Machine::new();
        assert_eq!(microcode(&machine.roots()), None);
        fs::create_dir(machine.0.path().join("proc")).unwrap();
        for (vendor, expected) in
            [("GenuineIntel", Some("intel")), ("AuthenticAMD", Some("amd")), ("Other", None)]
        {
            let text = format!("processor\t: 0\nvendor_id\t: {vendor}\n");
            fs::write(machine.0.path().join("proc/cpuinfo"), text).unwrap();
            assert_eq!(microcode(&machine.roots()), expected);
        }
    }
}
