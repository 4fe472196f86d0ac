//! Network cards, USB devices, the TPM and everything else that hangs on a domain.

use bedplate_document::rules;
use bedplate_libvirt::xml::Element;
use toml_edit::{Array, InlineTable, Value};

use super::{Domain, words};
use crate::draft::refused;
use crate::note::quote;

impl Domain<'_> {
    pub(super) fn devices(&mut self, devices: &Element) {
        self.cards(devices);
        let mut usb = Array::new();
        let mut has_agent = false;
        for device in &devices.children {
            let kind = device.attribute("type").unwrap_or_default();
            match device.name.as_str() {
                "disk" | "interface" => {}
                "hostdev" if kind == "usb" => usb.extend(self.usb(device)),
                "hostdev" => {
                    let what = device.child("source").map(words).unwrap_or_default();
                    let message = format!(
                        "a device of the host other than USB ({}) is not handed through; left out",
                        quote(&what)
                    );
                    self.open(device, "hostdev", message);
                }
                "tpm" => self.tpm(device),
                "channel" if device.of("target", "name") == "org.qemu.guest_agent.0" => {
                    has_agent = true
                }
                "graphics" | "video" => self.screen(device),
                _ => self.device(device),
            }
        }
        if !usb.is_empty() {
            self.draft.line("usb_devices", usb);
        }
        if !has_agent {
            self.draft.line("guest_agent", false);
        }
    }

    /// Every machine has these, or nobody misses them.
    fn device(&mut self, device: &Element) {
        const USUAL: [&str; 11] = [
            "emulator",
            "controller",
            "input",
            "memballoon",
            "rng",
            "serial",
            "console",
            "audio",
            "hub",
            "panic",
            "parallel",
        ];
        let name = device.name.as_str();
        match name {
            _ if USUAL.contains(&name) => {}
            "watchdog" if device.attribute("model") == Some("itco") => {}
            "sound" | "redirdev" | "channel" => {
                let message =
                    format!("{} is left out: it goes with a screen", quote(&words(device)));
                self.tell(device, name, message);
            }
            "filesystem" => {
                let message = format!(
                    "host.toml has no directories that a guest shares with its host; {} is left out: what \
                     the guest mounts from there it gets by NFS, and a key that it reads from there it does \
                     not find",
                    quote(&words(device))
                );
                self.open(device, "filesystem", message);
            }
            _ => self.left_out(device),
        }
    }

    fn screen(&mut self, device: &Element) {
        if device.name == "graphics" {
            let message = "by host.toml a machine has a screen with `iso_image` alone; left out: \
                           `virsh console` shows its serial line";
            self.tell(device, "graphics", message);
        }
    }

    fn cards(&mut self, devices: &Element) {
        let mut cards = devices.all("interface");
        let Some(first) = cards.next() else {
            let message = "it has no network card, and a machine of host.toml has one, on `br0` unless `bridge` says another";
            return self.open(devices, "bridge", message);
        };
        self.first_card(first);
        cards.for_each(|card| self.next_card(card));
    }

    fn first_card(&mut self, card: &Element) {
        match self.bridge(card) {
            Some(bridge) => self.draft.line("bridge", bridge),
            None => {
                let message = "it is on `br0` unless `bridge` says another: write which";
                self.open(card, "bridge", message);
            }
        }
        if let Some(mac) = self.mac(card) {
            self.draft.line("mac_address", mac);
        }
        if let Some(vlan) = self.vlan(card) {
            self.draft.number("vlan", vlan, card.into(), self.notes);
        }
        self.chosen(card);
    }

    fn next_card(&mut self, card: &Element) {
        let Some(bridge) = self.bridge(card) else { return };
        let mut lines = vec![("bridge", Some(Value::from(bridge)))];
        lines.extend(self.mac(card).map(|mac| ("mac_address", Some(Value::from(mac)))));
        let vlan = self.vlan(card).and_then(|vlan| i64::try_from(vlan).ok());
        lines.extend(vlan.map(|vlan| ("vlan", Some(Value::from(vlan)))));
        self.draft.nic(&lines);
        self.chosen(card);
    }

    /// The bridge of the host that a card is on; anything else is told.
    fn bridge(&mut self, card: &Element) -> Option<String> {
        let kind = card.attribute("type").unwrap_or_default();
        let bridge = card.of("source", "bridge");
        if kind != "bridge" {
            let on = match kind {
                "network" => format!("libvirt's network {}", quote(card.of("source", "network"))),
                "direct" => format!("the NIC {} itself (macvtap)", quote(card.of("source", "dev"))),
                other => format!("a network of the kind {}", quote(other)),
            };
            let message = format!(
                "its network card {} is on {on}, which host.toml does not know; left out: write the \
                 bridge that it is to be on",
                card.of("mac", "address")
            );
            self.open(card, "interface", message);
            return None;
        }
        if let Err(wrong) = rules::interface(bridge) {
            let about = self.draft.about("bridge");
            refused(card, &about, &wrong, self.notes);
            return None;
        }
        Some(bridge.to_owned())
    }

    fn mac(&mut self, card: &Element) -> Option<String> {
        let mac = card.child("mac")?.attribute("address")?;
        match rules::mac(mac) {
            Ok(()) => return Some(mac.to_ascii_lowercase()),
            Err(wrong) => {
                let about = self.draft.about("mac_address");
                refused(card, &about, &wrong, self.notes);
            }
        }
        None
    }

    fn vlan(&mut self, card: &Element) -> Option<u64> {
        let vlan = card.child("vlan")?;
        let tags: Vec<&Element> = vlan.all("tag").collect();
        let is_one = tags.len() == 1 && vlan.attribute("trunk") != Some("yes");
        let tag = tags.first().and_then(|tag| tag.attribute("id")).and_then(|id| id.parse().ok());
        match tag.filter(|_| is_one) {
            Some(tag) => Some(tag),
            None => {
                let message = format!(
                    "a card of host.toml is in one VLAN; {} is left out",
                    quote(&words(vlan))
                );
                self.open(vlan, "vlan", message);
                None
            }
        }
    }

    /// What was chosen for a card beside where it is.
    fn chosen(&mut self, card: &Element) {
        const PLAIN: [&str; 9] =
            ["mac", "source", "model", "address", "alias", "target", "vlan", "boot", "guest"];
        let model = card.of("model", "type");
        if !["virtio", "virtio-net-pci", ""].contains(&model) {
            let message = format!(
                "its network card is an {}, and by host.toml one of virtio: the guest needs its driver, and may know it by another name",
                quote(model)
            );
            self.open(card, "interface", message);
        }
        for child in card.children.iter().filter(|child| !PLAIN.contains(&child.name.as_str())) {
            match child.name.as_str() {
                "driver" | "rom" | "coalesce" | "tune" | "acpi" => {
                    let message = format!("{} is left to QEMU; left out", quote(&words(child)));
                    self.tell(child, "interface", message);
                }
                "link" if child.attribute("state") == Some("up") => {}
                _ => self.left_out(child),
            }
        }
    }

    fn usb(&mut self, device: &Element) -> Option<Value> {
        let empty = Element::default();
        let source = device.child("source").unwrap_or(&empty);
        let id = |name: &str| number(source.of(name, "id")).map(|id| format!("0x{id:04x}"));
        let (Some(vendor), Some(product)) = (id("vendor"), id("product")) else {
            let message = "this USB device is named by its bus and number, which change; left out: write \
                           `usb_devices` with what `lsusb` shows, and `port` where there are two of its kind";
            self.open(device, "usb_devices", message);
            return None;
        };
        let mut table = InlineTable::new();
        table.insert("vendor_id", vendor.into());
        table.insert("product_id", product.into());
        Some(Value::InlineTable(table))
    }

    fn tpm(&mut self, device: &Element) {
        let (kind, version) = (device.of("backend", "type"), device.of("backend", "version"));
        if kind != "emulator" || !["2.0", ""].contains(&version) {
            return self.left_out(device);
        }
        self.draft.line("tpm", true);
        let message = "what its TPM keeps is not carried over: a disk that opens by it asks for its recovery key";
        self.open(device, "tpm", message);
    }
}

/// As libvirt reads it: in base 16 with `0x`, in base 8 with `0`, else in base 10.
fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u16::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
