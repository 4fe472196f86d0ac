//! Disks, network cards, USB devices and what is left.

use bedplate_document::rules;
use toml_edit::{Array, InlineTable, Value};

use super::options::{self, DISKS, Option_};
use super::{Line, Machine};
use crate::draft::{Found, refused};
use crate::note::{Place, quote};

/// What a line is that stands where disks do.
enum Drive {
    Disk,
    Disc,
    CloudInit,
    Empty,
}

fn drive(line: &Line<'_>) -> Drive {
    let options = line.options();
    let volume = options.first().map_or("", |first| first.text);
    let is_disc = options.iter().any(|option| option.is("media", "cdrom"));
    match (volume, is_disc) {
        ("none" | "cdrom", _) => Drive::Empty,
        _ if volume.contains("cloudinit") => Drive::CloudInit,
        (_, true) => Drive::Disc,
        (_, false) => Drive::Disk,
    }
}

impl<'a> Machine<'a> {
    pub(super) fn disks(&mut self) {
        let all: Vec<Line<'a>> =
            DISKS.iter().flat_map(|kind| self.numbered(kind)).map(|(_, line)| line).collect();
        let disks: Vec<Line<'a>> =
            all.iter().filter(|line| matches!(drive(line), Drive::Disk)).copied().collect();
        let named = self.boot_order();
        let boots = named.iter().find_map(|key| disks.iter().find(|disk| disk.key == *key));
        match boots.or(disks.first()).copied() {
            Some(first) => {
                self.disk(first);
                disks
                    .iter()
                    .filter(|disk| disk.key != first.key)
                    .for_each(|disk| self.other_disk(*disk));
            }
            None => {
                let message = "it has no disk, and a machine of host.toml has one";
                self.open(self.draft.place, "existing_disk", message);
            }
        }
        for line in all {
            match drive(&line) {
                Drive::Disk | Drive::Empty => {}
                Drive::Disc => self.tell(
                    line.place,
                    line.key,
                    format!(
                        "{} is in its drive; left out: an installed machine needs none",
                        quote(line.value)
                    ),
                ),
                Drive::CloudInit => self.tell(
                    line.place,
                    line.key,
                    "what cloud-init was told is on this drive; left out: the guest has read it",
                ),
            }
        }
        for (_, unused) in self.numbered("unused") {
            self.open(
                unused.place,
                unused.key,
                format!("{} is used by nobody, and left out", quote(unused.value)),
            );
        }
    }

    /// The keys of the disks that boot, the first one first.
    fn boot_order(&self) -> Vec<&'a str> {
        let order = self.get("boot").and_then(|boot| {
            let order = boot.value.split(',').find_map(|part| part.strip_prefix("order="));
            order.map(|order| order.split(';').collect())
        });
        order.unwrap_or_else(|| self.get("bootdisk").map(|line| line.value).into_iter().collect())
    }

    fn disk(&mut self, line: Line<'a>) {
        let options = line.options();
        let volume = options.first().copied();
        let volume =
            volume.map_or("", |first| if first.key == "file" { first.value } else { first.text });
        let from = match volume.starts_with('/') {
            true => volume.to_owned(),
            false => format!("\"$(pvesm path {volume})\""),
        };
        let how = format!("`qemu-img convert -O qcow2 {from}` writes it");
        self.draft.existing(&Found { from: volume, how, file: None }, false, line.at, self.notes);
        let bus = options::stem(line.key);
        match bus {
            "virtio" => {}
            "ide" => {
                self.draft.line("disk_bus", "sata");
                self.open(line.place, "disk_bus", "its disk is on IDE, which host.toml does not know; SATA instead, which most guests find");
            }
            bus => self.draft.line("disk_bus", bus),
        }
        if let Some(hardware) =
            self.get("scsihw").filter(|it| bus == "scsi" && !it.value.starts_with("virtio-scsi"))
        {
            let message = format!(
                "its disk is on a controller {}, and by host.toml on virtio-scsi: the guest needs its driver",
                quote(hardware.value)
            );
            self.open(hardware.at, "disk_bus", message);
        } else if bus == "scsi" && self.get("scsihw").is_none() {
            self.open(line.place, "disk_bus", "its disk is on a controller by LSI, and by host.toml on virtio-scsi: the guest needs its driver");
        }
        options.iter().skip(1).for_each(|option| self.disk_option(line, *option));
    }

    fn disk_option(&mut self, line: Line<'_>, option: Option_<'_>) {
        match option.key {
            "size" => self.size(option),
            // Nothing that the guest sees, or what every disk of ours does.
            "discard" | "ssd" | "iothread" | "cache" | "aio" | "format" | "media"
            | "detect_zeroes" | "backup" | "replicate" | "file" => {}
            _ => {
                let message = format!("host.toml has no room for {}; left out", quote(option.text));
                self.open(option.at, line.key, message);
            }
        }
    }

    /// `40G` are GiB; host.toml counts in those.
    fn size(&mut self, option: Option_<'_>) {
        let split = option.value.len().saturating_sub(1);
        let (digits, unit) = option.value.split_at_checked(split).unwrap_or((option.value, ""));
        let mebibytes = digits.parse::<u64>().ok().and_then(|count| match unit {
            "M" => Some(count),
            "G" => count.checked_mul(1 << 10),
            "T" => count.checked_mul(1 << 20),
            _ => None,
        });
        match mebibytes.filter(|mebibytes| *mebibytes > 0 && mebibytes % 1024 == 0) {
            Some(mebibytes) => {
                self.draft.number("disk_gb", mebibytes / 1024, option.at, self.notes)
            }
            None => {
                let message = format!(
                    "{} is no whole number of GiB; left out: the disk stays as large as it is",
                    quote(option.value)
                );
                self.tell(option.at, "disk_gb", message);
            }
        }
    }

    fn other_disk(&mut self, line: Line<'_>) {
        let message = format!(
            "a machine of host.toml has one disk, that which boots; {} is left out: what is on it has to go \
             to the first, or to an export",
            quote(line.value)
        );
        self.open(line.place, line.key, message);
    }

    pub(super) fn cards(&mut self) {
        let cards = self.numbered("net");
        if cards.is_empty() {
            let message = "it has no network card, and a machine of host.toml has one, on `br0` unless `bridge` says another";
            self.open(self.draft.place, "bridge", message);
        }
        for (index, (_, line)) in cards.into_iter().enumerate() {
            let card = self.card(line);
            self.write(index == 0, line, card);
        }
    }

    fn card(&mut self, line: Line<'_>) -> Card {
        const MODELS: [&str; 7] =
            ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci", "e1000-82540em"];
        let mut card = Card::default();
        for (index, option) in line.options().into_iter().enumerate() {
            let value = option.value;
            match option.key {
                "bridge" => card.bridge = Some((value.to_owned(), option.at)),
                "tag" => {
                    card.vlan = value.parse().ok().or_else(|| {
                        self.open(
                            option.at,
                            "vlan",
                            format!("left out: {} is no VLAN", quote(value)),
                        );
                        None
                    })
                }
                "macaddr" => card.mac = Some((value.to_owned(), option.at)),
                "model" => self.model(value, option.at),
                model if MODELS.contains(&model) => {
                    card.mac = Some((value.to_owned(), option.at));
                    self.model(model, option.at);
                }
                "" if index == 0 => self.model(value, option.at),
                "queues" | "firewall" if value == "0" => {}
                "queues" => self.tell(
                    option.at,
                    line.key,
                    format!("{} is left to QEMU; left out", quote(option.text)),
                ),
                _ => self.open(
                    option.at,
                    line.key,
                    format!("host.toml has no room for {}; left out", quote(option.text)),
                ),
            }
        }
        card
    }

    fn model(&mut self, model: &str, at: Place) {
        if model != "virtio" {
            let message = format!(
                "its network card is an {}, and by host.toml one of virtio: the guest needs its driver, and may know it by another name",
                quote(model)
            );
            self.open(at, "net", message);
        }
    }

    fn write(&mut self, is_first: bool, line: Line<'_>, card: Card) {
        let bridge =
            card.bridge.and_then(|(bridge, at)| self.taken("bridge", bridge, at, rules::interface));
        let mac = card.mac.and_then(|(mac, at)| {
            self.taken("mac_address", mac.to_ascii_lowercase(), at, rules::mac)
        });
        let Some(bridge) = bridge else {
            let message = "it is on no bridge that could be carried over (Proxmox translates its addresses, or \
                           names a network of its own): write `bridge`";
            self.open(line.place, if is_first { "bridge" } else { "nics" }, message);
            if let (true, Some(mac)) = (is_first, mac) {
                self.draft.line("mac_address", mac);
            }
            return;
        };
        if is_first {
            self.draft.line("bridge", bridge);
            if let Some(mac) = mac {
                self.draft.line("mac_address", mac);
            }
            if let Some(vlan) = card.vlan {
                self.draft.number("vlan", vlan, line.at, self.notes);
            }
            return;
        }
        let mut lines = vec![("bridge", Some(Value::from(bridge)))];
        lines.extend(mac.map(|mac| ("mac_address", Some(Value::from(mac)))));
        let vlan = card.vlan.and_then(|vlan| i64::try_from(vlan).ok());
        lines.extend(vlan.map(|vlan| ("vlan", Some(Value::from(vlan)))));
        self.draft.nic(&lines);
    }

    /// A text that the rule takes; another one is told.
    fn taken(&mut self, key: &str, text: String, at: Place, rule: rules::Rule) -> Option<String> {
        let Err(wrong) = rule(&text) else { return Some(text) };
        let about = self.draft.about(key);
        refused(at, &about, &wrong, self.notes);
        None
    }

    pub(super) fn devices(&mut self) {
        let mut devices = Array::new();
        for (_, line) in self.numbered("usb") {
            devices.extend(self.usb(line));
        }
        if !devices.is_empty() {
            self.draft.line("usb_devices", devices);
        }
        let Some(tpm) = self.get("tpmstate0") else { return };
        if !tpm.options().iter().any(|option| option.is("version", "v2.0")) {
            return self.open(
                tpm.place,
                "tpm",
                "its TPM is a 1.2, and host.toml knows 2.0 alone; left out",
            );
        }
        self.draft.line("tpm", true);
        let message = "what its TPM keeps is not carried over: a disk that opens by it asks for its recovery key";
        self.open(tpm.place, "tpm", message);
    }

    /// `host=1a86:7523`, in base 16 as `lsusb` shows it.
    fn usb(&mut self, line: Line<'_>) -> Option<Value> {
        let options = line.options();
        let host = options.iter().find(|option| option.key == "host");
        let host = host
            .map(|option| option.value)
            .or(options.first().filter(|it| it.key.is_empty()).map(|it| it.value));
        let ids = host.and_then(|host| host.split_once(':'));
        let id = |text: &str| {
            let digits = text.trim_start_matches("0x");
            let is_id = (1..=4).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then(|| format!("0x{:0>4}", digits.to_ascii_lowercase()))
        };
        if let Some((Some(vendor), Some(product))) =
            ids.map(|(vendor, product)| (id(vendor), id(product)))
        {
            let mut table = InlineTable::new();
            table.insert("vendor_id", vendor.into());
            table.insert("product_id", product.into());
            return Some(Value::InlineTable(table));
        }
        let message = format!(
            "{} names no vendor and product; left out: write `usb_devices` with what `lsusb` shows, and \
             `port` where there are two of its kind",
            quote(line.value)
        );
        self.open(line.at, "usb_devices", message);
        None
    }

    /// Everything that is not read above.
    pub(super) fn rest(&mut self) {
        for line in self.lines {
            let key = line.key;
            if options::is_plain(key) || options::is_known(key) {
                continue;
            }
            if let Some(what) = options::told(key) {
                self.tell(line.place, key, format!("{what}; left out"));
            } else if matches!(
                key,
                "ciuser"
                    | "cipassword"
                    | "sshkeys"
                    | "ciupgrade"
                    | "citype"
                    | "cicustom"
                    | "nameserver"
                    | "searchdomain"
            ) || options::stem(key) == "ipconfig"
            {
                self.tell(
                    line.place,
                    key,
                    "what cloud-init was told; left out: the guest has read it",
                );
            } else {
                let message = format!("host.toml has no room for {}; left out", quote(line.value));
                self.open(line.place, key, message);
            }
        }
    }
}

/// A network card.
#[derive(Default)]
struct Card {
    bridge: Option<(String, Place)>,
    mac: Option<(String, Place)>,
    vlan: Option<u64>,
}
