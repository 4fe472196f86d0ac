//! One entry of the list.

use bedplate_document::addresses;
use bedplate_document::keys::{self, Absent, Form, Key};
use bedplate_document::rules::{self, Rule};
use bedplate_yaml::{Content, Node};
use toml_edit::Value;

use crate::ansible::{Notes, Role};

/// Keys that are read below; every other one is named.
const KNOWN: [&str; 11] = [
    "name",
    "state",
    "vcpu",
    "ram_mb",
    "mac_address",
    "disk_gb",
    "disk_image",
    "iso_image",
    "usb_devices",
    "bridge",
    "autostart",
];

/// A key of `[vms.<name>]`.
fn known(key: &str) -> Option<&'static Key> {
    let known = keys::key_at("vms.<name>", key);
    debug_assert!(known.is_some(), "`{key}` is no key of a machine");
    known
}

/// Whether a text is what its key means where it is left out.
fn is_meant(key: &str, text: &str) -> bool {
    let absent = known(key).map(|key| key.absent);
    matches!(absent, Some(Absent::Default(keys::Value::Text(default))) if default == text)
}

/// The section of an entry, with the machine's name; none when it has no name that can stand.
pub(crate) fn section(entry: &Node, role: &Role, notes: &mut Notes) -> Option<(String, String)> {
    let Some(name) = entry.get("name").and_then(Node::text) else {
        notes.open(entry, "libvirt_vms", "an entry without `name`; left out");
        return None;
    };
    if let Err(wrong) = rules::vm(name) {
        notes.open(entry, name, format!("left out: {}; {}", wrong.message, wrong.help));
        return None;
    }
    let mut machine = Machine { entry, name, notes, lines: Vec::new() };
    machine.unknown_keys(entry, name, &KNOWN);
    machine.kind();
    machine.word("state");
    machine.pool(role);
    machine.number("vcpu");
    machine.number("ram_mb");
    machine.checked("mac_address");
    machine.number("disk_gb");
    machine.bridge(role);
    machine.switch("autostart");
    machine.usb_devices();
    machine.image("disk_image");
    machine.image("iso_image");
    let lines = machine.lines.concat();
    Some((name.to_owned(), format!("[vms.{name}]\n{lines}\n")))
}

struct Machine<'a> {
    entry: &'a Node,
    name: &'a str,
    notes: &'a mut Notes,
    lines: Vec<String>,
}

impl Machine<'_> {
    /// A line of the section; the value is escaped by the writer of TOML.
    fn line(&mut self, key: &str, value: impl Into<Value>) {
        self.lines.push(format!("{key} = {}\n", value.into()));
    }

    fn about(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn unknown_keys(&mut self, node: &Node, about: &str, known: &[&str]) {
        for (key, _) in node.entries() {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                let about = format!("{about}.{name}");
                self.notes.open(key, &about, "host.toml knows no such key here; left out");
            }
        }
    }

    /// The text of a value that can be carried over; a template or a vault is named.
    fn text<'n>(&mut self, node: &'n Node, about: &str) -> Option<&'n str> {
        let text = match &node.content {
            Content::Scalar { tagged: false, text, .. } => text.as_str(),
            _ => {
                self.notes.open(node, about, "this is no plain value; left out");
                return None;
            }
        };
        if text.contains("{{") || text.contains("{%") {
            self.notes.open(node, about, "a template is not evaluated; write what it stands for");
            return None;
        }
        Some(text)
    }

    /// The value of a key, unless it is empty.
    fn value(&mut self, key: &str) -> Option<(String, Node)> {
        let node = self.entry.get(key).filter(|node| !node.is_null())?.clone();
        let text = self.text(&node, &self.about(key))?.to_owned();
        Some((text, node))
    }

    fn refused(&mut self, node: &Node, about: &str, wrong: rules::Wrong) {
        self.notes.open(node, about, format!("left out: {}; {}", wrong.message, wrong.help));
    }

    fn word(&mut self, key: &str) {
        let Some((text, node)) = self.value(key) else { return };
        let words = known(key).and_then(|key| key.form.words()).unwrap_or_default();
        if !words.contains(&text.as_str()) {
            let about = self.about(key);
            self.notes.open(&node, &about, format!("left out: it is one of {}", words.join(", ")));
        } else if !is_meant(key, &text) {
            self.line(key, text);
        }
    }

    fn number(&mut self, key: &str) {
        let Some((text, node)) = self.value(key) else { return };
        let Some(Form::Integer(least, most)) = known(key).map(|key| key.form) else { return };
        match text.parse::<u32>().ok().filter(|number| (least..=most).contains(number)) {
            Some(number) => self.line(key, i64::from(number)),
            None => {
                let about = self.about(key);
                let message = format!("left out: it is a whole number from {least} to {most}");
                self.notes.open(&node, &about, message);
            }
        }
    }

    fn checked(&mut self, key: &str) {
        let Some((text, node)) = self.value(key) else { return };
        let Some(rule) = known(key).and_then(|key| key.form.rule()) else { return };
        match rule(&text) {
            Ok(()) => self.line(key, text),
            Err(wrong) => self.refused(&node, &self.about(key), wrong),
        }
    }

    /// YAML 1.1, which Ansible reads, has many words for it.
    fn switch(&mut self, key: &str) {
        let Some((text, node)) = self.value(key) else { return };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => self.line(key, true),
            "false" | "no" | "off" => self.line(key, false),
            _ => self.notes.open(&node, &self.about(key), "left out: it is true or false"),
        }
    }

    /// Home Assistant OS is known by the name of its images.
    fn kind(&mut self) {
        let url = self.entry.get("disk_image").and_then(|image| image.get("url"));
        let is_haos =
            |url: &str| url.rsplit('/').next().is_some_and(|it| it.starts_with("haos_ova-"));
        let Some(node) = url.filter(|node| node.text().is_some_and(is_haos)) else { return };
        self.line("kind", "haos");
        let message =
            "this is Home Assistant OS, so `kind = \"haos\"`: UEFI, and its disk on virtio-scsi";
        self.notes.tell(node, &self.about("disk_image.url"), message);
    }

    /// The pool is the one that is mounted where the role keeps its files.
    fn pool(&mut self, role: &Role) {
        let pool = role.root.rsplit('/').next().unwrap_or_default();
        match rules::pool(pool) {
            Ok(()) if is_meant("pool", pool) => {}
            Ok(()) => self.line("pool", pool),
            Err(_) => {
                let message = format!("the files lie in {}; name their pool", role.root);
                self.notes.open(self.entry, &self.about("pool"), message);
            }
        }
    }

    fn bridge(&mut self, role: &Role) {
        if self.entry.get("bridge").is_some() {
            return self.checked("bridge");
        }
        match rules::interface(&role.bridge) {
            Ok(()) if is_meant("bridge", &role.bridge) => {}
            Ok(()) => self.line("bridge", role.bridge.as_str()),
            Err(wrong) => self.refused(self.entry, &self.about("bridge"), wrong),
        }
    }

    fn usb_devices(&mut self) {
        let Some(list) = self.entry.get("usb_devices").filter(|list| !list.is_null()) else {
            return;
        };
        let mut devices = toml_edit::Array::new();
        for (index, device) in list.items().iter().enumerate() {
            let about = self.about(&format!("usb_devices[{index}]"));
            self.unknown_keys(device, &about, &["vendor_id", "product_id"]);
            match [
                self.usb_id(device, &about, "vendor_id"),
                self.usb_id(device, &about, "product_id"),
            ] {
                [Some(vendor), Some(product)] => {
                    let pair = [("vendor_id", vendor), ("product_id", product)];
                    devices.push(Value::InlineTable(pair.into_iter().collect()));
                }
                _ => self.notes.open(device, &about, "left out: it wants a vendor and a product"),
            }
        }
        if list.items().is_empty() && !matches!(list.content, Content::List(_)) {
            self.notes.open(list, &self.about("usb_devices"), "this is no list; left out");
        }
        if !devices.is_empty() {
            self.line("usb_devices", devices);
        }
    }

    fn usb_id(&mut self, device: &Node, about: &str, key: &str) -> Option<String> {
        let node = device.get(key)?.clone();
        let about = format!("{about}.{key}");
        let text = self.text(&node, &about)?;
        let id = if text.starts_with("0x") { text.to_owned() } else { format!("0x{text}") };
        match rules::usb_id(&id) {
            Ok(()) => Some(id),
            Err(wrong) => {
                self.refused(&node, &about, wrong);
                None
            }
        }
    }

    /// An image without a checksum is not downloaded by Bedplate: the line is left to be filled in.
    fn image(&mut self, key: &str) {
        let Some(image) = self.entry.get(key).filter(|image| !image.is_null()).cloned() else {
            return;
        };
        let about = self.about(key);
        self.unknown_keys(&image, &about, &["url", "dest", "extract", "checksum", "sha256"]);
        let url = self.part(&image, &about, "url", addresses::download);
        let dest = self.part(&image, &about, "dest", rules::absolute_path);
        let sum = self.checksum(&image, &about);
        if image.get("extract").and_then(Node::text).is_some_and(|text| text != "true") {
            let message = "archives are known by their content and always extracted";
            self.notes.tell(&image, &format!("{about}.extract"), message);
        }
        self.lines.push(format!("[vms.{}.{key}]\n", self.name));
        match url {
            Some(url) => self.line("url", url),
            None => self.lines.push("# url = \"https://…\"\n".to_owned()),
        }
        match sum {
            Some(sum) => self.line("sha256", sum),
            None => {
                self.lines.push("# sha256 = \"…\"\n".to_owned());
                let message =
                    "no SHA-256 is given, and nothing is downloaded without one; fill in `sha256`";
                self.notes.open(&image, &about, message);
            }
        }
        if let Some(dest) = dest {
            self.line("dest", dest);
        }
    }

    fn part(&mut self, image: &Node, about: &str, key: &str, rule: Rule) -> Option<String> {
        let node = image.get(key)?.clone();
        let about = format!("{about}.{key}");
        let text = self.text(&node, &about)?.to_owned();
        match rule(&text) {
            Ok(()) => Some(text),
            // What looks like a password is not shown.
            Err(_) if text.contains('@') => {
                let message = "left out: no password may stand in host.toml; write it without";
                self.notes.open(&node, &about, message);
                None
            }
            Err(wrong) => {
                self.refused(&node, &about, wrong);
                None
            }
        }
    }

    /// `sha256`, or `checksum` as Ansible's `get_url` writes it.
    fn checksum(&mut self, image: &Node, about: &str) -> Option<String> {
        let node = image.get("sha256").or_else(|| image.get("checksum"))?.clone();
        let text = self.text(&node, about)?.to_ascii_lowercase();
        let sum = text.strip_prefix("sha256:").unwrap_or(&text);
        rules::sha256(sum).is_ok().then(|| sum.to_owned())
    }
}
