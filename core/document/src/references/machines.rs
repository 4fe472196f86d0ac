//! Virtual machines: what each names must be there, and nothing is shared.

use std::collections::BTreeMap;

use super::{Report, within};
use crate::rules;
use bedplate_model::host::{Firmware, GuestNic, HostFile, Nic, Pool, State, UsbDevice, Vm, VmKind};
use bedplate_model::name::PoolName;

impl Report<'_> {
    pub(super) fn vm(&self, name: &str, vm: &mut Vm, pools: &BTreeMap<PoolName, Pool>) {
        let path = format!("vms.{name}");
        let pool = pools.get(&vm.pool);
        if vm.state == State::Present {
            self.wanted_vm(&path, vm);
        }
        let Some(mount) = pool.map(|pool| &pool.mount).filter(|mount| !mount.is_empty()) else {
            return;
        };
        let directory = format!("{mount}/{name}");
        let images = [
            (&mut vm.disk_image, "disk_image", format!("{name}.qcow2")),
            (&mut vm.iso_image, "iso_image", "installer.iso".to_owned()),
        ];
        for (image, key, default) in images {
            let Some(image) = image else { continue };
            if image.dest.is_empty() {
                image.dest = format!("{directory}/{default}");
            } else if image.dest == directory || !within(&image.dest, &directory) {
                let message = format!("{} is outside the VM's directory", image.dest);
                self.wrong(
                    &format!("{path}.{key}.dest"),
                    message,
                    format!("write \"{directory}/{default}\""),
                );
            }
        }
    }

    /// What a guest names must be there.
    pub(super) fn guests(&self, host: &HostFile) {
        for guest in host.guests() {
            let place = guest.place();
            if !host.pools.contains_key(guest.pool) {
                let help = self.known(host.pools.keys(), guest.pool);
                let message = format!("there is no `[pools.{}]`", guest.pool);
                self.wrong(&format!("{place}.pool"), message, help);
            }
            if guest.state == State::Present {
                guest.nics.iter().for_each(|nic| self.guest_nic(&place, nic, host));
            }
        }
    }

    /// The bridge of a NIC is there, and knows VLANs where the NIC is in one.
    fn guest_nic(&self, place: &str, nic: &GuestNic<'_>, host: &HostFile) {
        let (bridges, name) = (&host.network.bridges, nic.bridge);
        let key = format!("{place}.{}bridge", nic.place);
        if name.is_empty() {
            return; // It is reported as missing or wrong.
        }
        let Some(bridge) = bridges.get(name) else {
            let message = format!("there is no `[network.bridges.{name}]`");
            return self.wrong(&key, message, self.known(bridges.keys(), name));
        };
        if nic.vlan.is_some() && !bridge.vlan_aware {
            let message = format!("the bridge {name} knows no VLANs");
            let help = format!("write `vlan_aware = true` in `[network.bridges.{name}]`");
            self.wrong(&format!("{place}.{}vlan", nic.place), message, help);
        }
    }

    /// A guest's directory is its own: clients of an export in it could write its disk, and
    /// `state = "absent"` deletes all that lies in it.
    pub(super) fn machine_directories(&self, host: &HostFile) {
        let exports = host.nfs.exports.iter().enumerate();
        let exports = exports.map(|(index, it)| (format!("nfs.exports[{index}].path"), &it.path));
        let repositories = host.backups.iter();
        let repositories =
            repositories.map(|(name, it)| (format!("backups.{name}.repository"), &it.repository));
        let others: Vec<_> =
            exports.chain(repositories).filter(|(_, path)| path.starts_with('/')).collect();
        for guest in host.guests() {
            if self.incomplete(&format!("{}.pool", guest.place())) {
                continue; // The pool is a guess.
            }
            for directory in guest.owns.iter().filter_map(|own| own.to_str()) {
                let meet = |other: &str| within(other, directory) || within(directory, other);
                for (key, other) in others.iter().filter(|(_, other)| meet(other)) {
                    let message = format!(
                        "its directory {directory} and {other} of `{key}` lie in each other"
                    );
                    let help = "a guest has its directory to itself, and `state = \"absent\"` \
                                deletes it: name the guest otherwise, or write another path there";
                    self.wrong(&guest.place(), message, help);
                }
            }
        }
    }

    fn wanted_vm(&self, path: &str, vm: &Vm) {
        self.haos(path, vm);
        self.usb_devices(path, vm);
        self.cloud_init(path, vm);
        self.disk(path, vm);
    }

    /// A disk comes from one place.
    fn disk(&self, path: &str, vm: &Vm) {
        let places = [
            ("disk_image", vm.disk_image.is_some()),
            ("iso_image", vm.iso_image.is_some()),
            ("existing_disk", vm.existing_disk.is_some()),
        ];
        let given: Vec<&str> = places.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        match given.as_slice() {
            [] if self.incomplete(&format!("{path}.existing_disk")) => {}
            [] => {
                let message = "it has neither `disk_image` nor `iso_image` nor `existing_disk`";
                let help = format!(
                    "write `[{path}.disk_image]`, or `existing_disk = \"…\"` for one that is there"
                );
                self.wrong(path, message.into(), help);
            }
            ["iso_image"] if vm.disk_gb.is_none() => {
                let message = "an installer needs an empty disk to install to".into();
                self.wrong(path, message, "add `disk_gb = 32`");
            }
            [_] => {}
            [first, second, ..] => {
                let message = format!("it has both `{first}` and `{second}`");
                self.wrong(path, message, "keep one of them");
            }
        }
    }

    /// Home Assistant OS boots by UEFI, and nobody has signed it.
    fn haos(&self, path: &str, vm: &Vm) {
        if vm.kind == VmKind::Haos && vm.firmware != Firmware::Uefi {
            let message = "Home Assistant OS boots by UEFI without Secure Boot alone".into();
            self.wrong(&format!("{path}.firmware"), message, "remove `firmware`");
        }
        if vm.kind == VmKind::Haos && vm.cloud_init.is_some() {
            let message = "Home Assistant OS knows no cloud-init".into();
            self.wrong(&format!("{path}.cloud_init"), message, "remove it");
        }
    }

    /// Two of one kind must not both be meant by one plug.
    fn usb_devices(&self, path: &str, vm: &Vm) {
        for (index, device) in vm.usb_devices.iter().enumerate() {
            let earlier = vm.usb_devices.iter().take(index);
            let kind = |device: &UsbDevice| (device.vendor_id.clone(), device.product_id.clone());
            let mut alike = earlier.filter(|other| kind(other) == kind(device));
            let same = alike.find(|other| {
                !other.is_one()
                    || !device.is_one()
                    || (&other.serial, &other.port) == (&device.serial, &device.port)
            });
            if same.is_some() && !device.vendor_id.is_empty() {
                let (vendor, product) = kind(device);
                let message = format!("{vendor}:{product} stands there twice");
                let help = "tell them apart: `serial = \"…\"` or `port = \"1-1.4\"` in each \
                            (`/sys/bus/usb/devices`)";
                self.wrong(&format!("{path}.usb_devices[{index}]"), message, help);
            }
        }
    }

    fn cloud_init(&self, path: &str, vm: &Vm) {
        let Some(seed) = &vm.cloud_init else { return };
        let place = format!("{path}.cloud_init");
        if vm.iso_image.is_some() {
            self.wrong(&place, "an installer reads no seed".into(), "write `disk_image`");
        }
        // Only one that was made from the VM's name has not been looked at.
        if let Err(wrong) = rules::host_name(&seed.hostname) {
            let help = format!("write `hostname`: {}", wrong.help);
            self.wrong(&format!("{place}.hostname"), wrong.message, help);
        }
        if seed.ssh_keys.is_empty() {
            let help = "add `ssh_keys = [\"ssh-ed25519 …\"]`";
            self.wrong(&place, "nobody could log in to the guest".into(), help);
        }
    }

    pub(super) fn mac_addresses(&self, host: &HostFile) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (name, bridge) in &host.network.bridges {
            if let Some(Nic::Mac(mac)) = &bridge.nic {
                seen.insert(mac, format!("network.bridges.{name}.nic"));
            }
        }
        for guest in host.guests() {
            for nic in &guest.nics {
                let Some(mac) = nic.mac_address else { continue };
                let place = format!("{}.{}", guest.place(), nic.place);
                let place = place.trim_end_matches('.').to_owned();
                if let Some(first) = seen.insert(mac, place.clone()) {
                    let message = format!("{mac} is the address of `{first}` too");
                    let help = "leave one out: it is then derived from the name";
                    self.wrong(&format!("{place}.mac_address"), message, help);
                }
            }
        }
    }
}
