//! One entry of the list of Ansible's role.

use bedplate_document::keys::Key;
use bedplate_document::rules;
use bedplate_yaml::{Content, Node};
use toml_edit::{Array, InlineTable, Value};

use crate::ansible::Role;
use crate::draft::{self, Draft, refused};
use crate::image;
use crate::note::{Notes, quote};
use crate::scalar;
use crate::value;

/// The machine of an entry; none when it has no name that can stand.
pub(crate) fn draft(entry: &Node, role: &Role, notes: &mut Notes) -> Option<Draft> {
    if !matches!(entry.content, Content::Map(_)) {
        if scalar::text(entry, "libvirt_vms", notes).is_some() {
            notes.open(
                entry,
                "libvirt_vms",
                format!("an entry that is {}, and no map; left out", entry.kind()),
            );
        }
        return None;
    }
    let Some(name) = entry.get("name").filter(|name| !name.is_null()) else {
        notes.open(entry, "libvirt_vms", "an entry without `name`; left out");
        return None;
    };
    let text = scalar::text(name, "libvirt_vms.name", notes)?;
    let draft = Draft::new(text, entry.into(), notes)?;
    if let Some(other) = scalar::other_than_text(text).filter(|_| name.is_plain()) {
        let message = format!("without quotes it is {other} in YAML 1.1; taken as it is written");
        notes.open(name, text, message);
    }
    let block = draft::guest()?;
    let names: Vec<&str> = block.keys.iter().map(|key| key.name).chain(["name"]).collect();
    value::unknown(entry, text, &names, notes);
    let mut machine = Machine { entry, role, draft, notes };
    machine.kind();
    block.keys.iter().for_each(|key| machine.key(key));
    Some(machine.draft)
}

struct Machine<'a> {
    entry: &'a Node,
    role: &'a Role,
    draft: Draft,
    notes: &'a mut Notes,
}

impl<'a> Machine<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.entry.get(key).filter(|node| !node.is_null())
    }

    /// Carries a key over by what it is in `host.toml`.
    fn key(&mut self, key: &Key) {
        let Some(node) = self.get(key.name) else {
            return match key.name {
                "pool" => self.pool(),
                "bridge" => self.bridge(),
                _ => {}
            };
        };
        let about = self.draft.about(key.name);
        match key.name {
            "disk_image" | "iso_image" => {
                image::image(&mut self.draft, key.name, node, &self.role.root, self.notes);
            }
            "usb_devices" => self.usb_devices(node),
            name => {
                if let Some(value) = value::of(key.form, node, &about, self.notes) {
                    self.draft.line(name, value);
                }
            }
        }
    }

    /// Home Assistant OS is known by the name of its images.
    fn kind(&mut self) {
        let image = self.get("disk_image");
        let url = image.map(|image| image.get("url").unwrap_or(image));
        let is_haos =
            |url: &str| url.rsplit('/').next().is_some_and(|it| it.starts_with("haos_ova-"));
        let Some(node) = url.filter(|node| node.text().is_some_and(is_haos)) else { return };
        if self.get("kind").is_some() {
            return;
        }
        self.draft.line("kind", "haos");
        let message =
            "this is Home Assistant OS, so `kind = \"haos\"`: UEFI, and its disk on virtio-scsi";
        self.notes.tell(node, &self.draft.about("disk_image.url"), message);
    }

    /// The pool is the one that is mounted where the role keeps its files.
    fn pool(&mut self) {
        let root = &self.role.root;
        if let Some(pool) = &self.role.pool {
            return self.draft.line("pool", pool.as_str());
        }
        let pool = root.rsplit('/').next().unwrap_or_default();
        match rules::pool(pool) {
            Ok(()) => self.draft.line("pool", pool),
            Err(_) => {
                let message = format!("the files lie in {}; name their pool", quote(root));
                self.notes.open(self.entry, &self.draft.about("pool"), message);
            }
        }
    }

    fn bridge(&mut self) {
        let bridge = &self.role.bridge;
        match rules::interface(bridge) {
            Ok(()) => self.draft.line("bridge", bridge.as_str()),
            Err(wrong) => refused(self.entry, &self.draft.about("bridge"), &wrong, self.notes),
        }
    }

    fn usb_devices(&mut self, node: &Node) {
        let about = self.draft.about("usb_devices");
        let Some(list) = value::list(node, &about, self.notes) else { return };
        let mut devices = Array::new();
        for (index, device) in list.iter().enumerate() {
            devices.extend(self.usb_device(device, &format!("{about}[{index}]")));
        }
        if !devices.is_empty() {
            self.draft.line("usb_devices", devices);
        }
    }

    fn usb_device(&mut self, device: &Node, about: &str) -> Option<Value> {
        if !matches!(device.content, Content::Map(_)) {
            let message = format!("left out: this is {}, and no map", device.kind());
            self.notes.open(device, about, message);
            return None;
        }
        let block = draft::key("usb_devices")?.form.block()?;
        let names: Vec<&str> = block.keys.iter().map(|key| key.name).collect();
        value::unknown(device, about, &names, self.notes);
        let mut table = InlineTable::new();
        for key in block.keys {
            let Some(node) = device.get(key.name).filter(|node| !node.is_null()) else { continue };
            let about = format!("{about}.{}", key.name);
            let value = match key.name {
                "vendor_id" | "product_id" => usb_id(node, &about, self.notes).map(Value::from),
                _ => value::of(key.form, node, &about, self.notes),
            };
            if let Some(value) = value {
                table.insert(key.name, value);
            }
        }
        if table.contains_key("vendor_id") && table.contains_key("product_id") {
            return Some(Value::InlineTable(table));
        }
        self.notes.open(device, about, "left out: it wants a vendor and a product");
        None
    }
}

/// A vendor or product. Digits alone may be a number, or what `lsusb` shows; the two differ.
fn usb_id(node: &Node, about: &str, notes: &mut Notes) -> Option<String> {
    let text = scalar::text(node, about, notes)?;
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(number) = scalar::number(text).filter(|_| is_digits && node.is_plain()) {
        let message = format!(
            "left out: {} without quotes is the number {}, in base 16 0x{:04x}, and `lsusb` may mean \
             0x{text:0>4}; write which, in quotes and with `0x`",
            quote(text),
            number.value,
            number.value
        );
        notes.open(node, about, message);
        return None;
    }
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let id = format!("0x{:0>4}", digits.unwrap_or(text));
    if let Err(wrong) = rules::usb_id(&id) {
        let wrong = rules::Wrong { message: format!("{} is no USB id", quote(text)), ..wrong };
        refused(node, about, &wrong, notes);
        return None;
    }
    if is_digits {
        let message = format!("taken as `lsusb` shows it, {id}; look whether that is meant");
        notes.open(node, about, message);
    } else if id != text {
        notes.tell(node, about, format!("{} is {id}", quote(text)));
    }
    Some(id)
}
