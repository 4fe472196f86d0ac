//! A domain's definition in a form that can be compared. libvirt rewrites what it is told: it counts
//! in other units, fills in what was left out, and adds what every machine has.
//!
//! What is read here is what somebody may have chosen. What libvirt adds by itself (controllers,
//! addresses, the mouse, the memory balloon) is left out.

use std::fmt;
use std::path::{Path, PathBuf};

use bedplate_libvirt::xml::{Boot, Element, boot};
use bedplate_model::host::Firmware;

use super::inspect::InspectError;

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// `kvm` or `qemu`.
    pub kind: String,
    /// The machine that is built for the guest: `pc-q35-7.2`.
    pub machine: String,
    /// What it boots with.
    pub firmware: Firmware,
    /// Where the variables of its firmware are, once libvirt says it.
    pub variables: Option<PathBuf>,
    /// Memory in KiB.
    pub memory: u64,
    /// How many processors.
    pub processors: u64,
    /// Disks and drives.
    pub disks: Vec<Disk>,
    /// USB devices of the host that it gets.
    pub usb: Vec<Usb>,
    /// Everything else that somebody may have chosen, in words that tell two apart.
    pub parts: Vec<String>,
}

/// A disk or a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `disk`, `cdrom`, `floppy`, `lun`.
    pub device: String,
    /// Name that libvirt knows it by, such as `vda` or `sda`: `dev` of its `<target>`.
    pub target: String,
    /// What it hangs on, such as `virtio`, `sata` or `usb`: `bus` of its `<target>`.
    pub bus: String,
    /// What is in it; none in an empty drive.
    pub source: Option<Source>,
    /// How it was tuned.
    pub parts: Vec<String>,
}

/// Where the content of a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file, or on a device.
    File(PathBuf),
    /// In a volume of a storage pool of libvirt.
    Volume {
        /// The pool.
        pool: String,
        /// The volume.
        volume: String,
    },
    /// Elsewhere, in words.
    Other(String),
}

/// A USB device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usb {
    /// Vendor, in four digits: `1a86`.
    pub vendor: String,
    /// Product id of the USB device.
    pub product: String,
    /// Bus and device, where it is named by them or plugged in.
    pub address: Option<(u32, u32)>,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Volume { pool, volume } => write!(formatter, "volume {volume} of {pool}"),
            Self::Other(words) => formatter.write_str(words),
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, target, source, .. } = self;
        match source {
            Some(source) => write!(formatter, "the {device} {target} ({source})"),
            None => write!(formatter, "the empty {device} {target}"),
        }
    }
}

impl fmt::Display for Usb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the USB device {}:{}", self.vendor, self.product)
    }
}

impl Usb {
    /// Whether it is of the same kind; where it is plugged in, libvirt says of those that a guest has.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.vendor, &self.product) == (&other.vendor, &other.product)
    }
}

impl Model {
    /// Reads what libvirt holds, or what it is to be told.
    pub fn parse(xml: &str) -> Result<Self, InspectError> {
        let domain = Element::parse(xml).map_err(|error| InspectError(error.into()))?;
        let empty = Element::default();
        let os = domain.child("os").unwrap_or(&empty);
        let devices = domain.child("devices").unwrap_or(&empty);
        let kind = domain.attribute("type").unwrap_or_default().to_owned();
        let mut parts = of_domain(&domain, os);
        for device in &devices.children {
            of_device(device, &mut parts);
        }
        parts.sort_unstable();
        let variables = os.child("nvram").map(|nvram| nvram.text.as_str());
        Ok(Self {
            kind,
            machine: os.of("type", "machine").to_owned(),
            firmware: firmware(os),
            variables: variables.filter(|path| path.starts_with('/')).map(PathBuf::from),
            memory: domain.child("memory").map_or(0, Element::kibibytes),
            processors: number(domain.child("vcpu")),
            disks: devices.all("disk").map(disk).collect(),
            usb: devices.all("hostdev").filter_map(usb).collect(),
            parts,
        })
    }

    /// The disk with the content `path`.
    pub fn disk_of(&self, path: &Path) -> Option<&Disk> {
        let of = |disk: &&Disk| disk.source.as_ref().is_some_and(|source| source.is(path));
        self.disks.iter().find(of)
    }
}

impl Source {
    fn is(&self, path: &Path) -> bool {
        matches!(self, Self::File(file) if file == path)
    }
}

/// Every path in a definition, wherever it stands: disks and what they are based on, firmware,
/// variables, kernels, shared directories, logs, arguments of QEMU.
pub fn paths(xml: &str) -> Result<Vec<PathBuf>, InspectError> {
    let domain = Element::parse(xml).map_err(|error| InspectError(error.into()))?;
    let mut found = Vec::new();
    domain.visit(&mut |text| found.extend(paths_in(text).map(PathBuf::from)));
    Ok(found)
}

/// The paths in a value: all of it, or what stands in it after a sign, as in `file=/a,if=none`. Where
/// such one ends nobody knows: it is taken with what follows, and as far as the next sign.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    const SIGNS: [char; 5] = ['=', ',', ':', '"', '\''];
    let after = text.match_indices(SIGNS).filter_map(|(at, sign)| text.get(at + sign.len()..));
    let found = std::iter::once(text).chain(after).filter(|rest| rest.starts_with('/'));
    found.flat_map(|rest| [rest, rest.split([',', '"', '\'']).next().unwrap_or(rest)])
}

fn firmware(os: &Element) -> Firmware {
    match boot(os) {
        Boot::Bios => Firmware::Bios,
        Boot::Uefi => Firmware::Uefi,
        Boot::SecureBoot => Firmware::UefiSecureBoot,
    }
}

fn number(element: Option<&Element>) -> u64 {
    element.and_then(|element| element.text.trim().parse().ok()).unwrap_or(0)
}

fn disk(element: &Element) -> Disk {
    let text = |child: &str, attribute: &str| element.of(child, attribute).to_owned();
    let mut parts = Vec::new();
    let driver = element.child("driver").map(|driver| driver.attributes.as_slice());
    for (key, value) in driver.unwrap_or_default() {
        if !["name", "type"].contains(&key.as_str()) {
            parts.push(format!("{key}={value}"));
        }
    }
    const PLAIN: [&str; 9] = [
        "driver",
        "source",
        "target",
        "address",
        "alias",
        "backingStore",
        "boot",
        "readonly",
        "mirror",
    ];
    parts.extend(others(element, &PLAIN));
    parts.sort_unstable();
    Disk {
        device: element.attribute("device").unwrap_or("disk").to_owned(),
        target: text("target", "dev"),
        bus: text("target", "bus"),
        source: element.child("source").and_then(source),
        parts,
    }
}

fn source(element: &Element) -> Option<Source> {
    let get = |name: &str| element.attribute(name);
    if let Some(path) = get("file").or_else(|| get("dev")) {
        return Some(Source::File(PathBuf::from(path)));
    }
    if let (Some(pool), Some(volume)) = (get("pool"), get("volume")) {
        return Some(Source::Volume { pool: pool.to_owned(), volume: volume.to_owned() });
    }
    let words =
        element.attributes.iter().filter(|(key, _)| key != "index" && key != "startupPolicy");
    let words: Vec<_> = words.map(|(_, value)| value.as_str()).collect();
    (!words.is_empty()).then(|| Source::Other(words.join(" ")))
}

fn usb(element: &Element) -> Option<Usb> {
    if element.attribute("type") != Some("usb") {
        return None;
    }
    let source = element.child("source")?;
    let address = source.child("address");
    let part = |name: &str| -> Option<u32> {
        let text = address?.attribute(name)?;
        let hexadecimal = text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16));
        hexadecimal.unwrap_or_else(|| text.parse()).ok()
    };
    Some(Usb {
        vendor: plain_id(source.of("vendor", "id")),
        product: plain_id(source.of("product", "id")),
        address: part("bus").zip(part("device")),
    })
}

/// A vendor or product in four digits: `1a86`.
pub fn plain_id(id: &str) -> String {
    format!("{:0>4}", id.trim_start_matches("0x").to_ascii_lowercase())
}

/// Names of the children that are not `plain`.
fn others(element: &Element, plain: &[&str]) -> Vec<String> {
    let other = element.children.iter().filter(|child| !plain.contains(&child.name.as_str()));
    other.map(words).collect()
}

/// An element in a line: its name, and what tells it from another.
fn words(element: &Element) -> String {
    let mut line = element.name.clone();
    for (_, value) in &element.attributes {
        line = format!("{line} {value}");
    }
    if !element.text.is_empty() {
        line = format!("{line} {}", element.text);
    }
    for child in &element.children {
        line = format!("{line} {}", words(child));
    }
    line
}

/// What a definition has outside its devices.
fn of_domain(domain: &Element, os: &Element) -> Vec<String> {
    // Compared by themselves, or added by libvirt (`resource` names a group of the kernel).
    const PLAIN: [&str; 16] = [
        "name",
        "uuid",
        "metadata",
        "memory",
        "currentMemory",
        "vcpu",
        "os",
        "features",
        "cpu",
        "clock",
        "devices",
        "resource",
        "seclabel",
        "qemu:commandline",
        "pm",
        "genid",
    ];
    const OF_OS: [&str; 4] = ["type", "firmware", "loader", "nvram"];
    let mut parts = others(domain, &PLAIN);
    parts.extend(others(os, &OF_OS).into_iter().map(|what| format!("of the boot: {what}")));
    let children = |name: &str| domain.child(name).map(|one| one.children.as_slice());
    for one in children("metadata").unwrap_or_default() {
        if !one.attributes.iter().any(|(_, value)| value == super::domain::NAMESPACE) {
            parts.push(format!("metadata {}", one.name));
        }
    }
    for one in children("features").unwrap_or_default() {
        if !["acpi", "apic", "smm", "pae"].contains(&one.name.as_str()) {
            parts.push(format!("feature {}", words(one)));
        }
    }
    for one in children("qemu:commandline").unwrap_or_default() {
        parts.push(format!("for QEMU: {}", words(one)));
    }
    for one in children("clock").unwrap_or_default() {
        parts.push(format!("clock {}", words(one)));
    }
    if let Some(clock) = domain.child("clock") {
        parts.push(format!("clock {}", clock.attribute("offset").unwrap_or_default()));
    }
    for one in children("cpu").unwrap_or_default() {
        match one.name.as_str() {
            "model" => parts.push(format!("processor {}", one.text)),
            _ => parts.push(format!("processor: {}", words(one))),
        }
    }
    parts.extend(of_amounts(domain));
    parts
}

/// Memory and processors that are there and not used at once, or pinned.
fn of_amounts(domain: &Element) -> Vec<String> {
    let mut parts = Vec::new();
    let whole = domain.child("memory").map_or(0, Element::kibibytes);
    let now = domain.child("currentMemory").map_or(whole, Element::kibibytes);
    if now != whole {
        parts.push(format!("memory of {} MiB at first", now / 1024));
    }
    let Some(processors) = domain.child("vcpu") else { return parts };
    if let Some(now) = processors.attribute("current") {
        parts.push(format!("{now} processors at first"));
    }
    if let Some(set) = processors.attribute("cpuset") {
        parts.push(format!("processors pinned to {set}"));
    }
    parts
}

/// What a device is, unless every machine has one or it is compared by itself.
fn of_device(device: &Element, parts: &mut Vec<String>) {
    let of = |child: &str, attribute: &str| device.of(child, attribute);
    let kind = device.attribute("type").unwrap_or_default();
    match device.name.as_str() {
        "disk" | "controller" | "emulator" | "console" | "memballoon" | "audio" => {}
        // libvirt gives one to every machine of this kind.
        "watchdog" if device.attribute("model") == Some("itco") => {}
        "interface" => network_card(device, parts),
        "hostdev" if kind == "usb" => {}
        "hostdev" => {
            let source = device.child("source").map(words).unwrap_or_default();
            parts.push(format!("device of the host: {kind} {source}"));
        }
        // Every machine with a screen gets a mouse and a keyboard.
        "input" if device.attribute("bus") == Some("ps2") => {}
        "input" => parts.push(format!("input {kind}")),
        "serial" => parts.push(format!("serial {kind}")),
        "channel" => parts.push(format!("channel {kind} {}", of("target", "name"))),
        "graphics" => parts.push(format!("screen {kind}")),
        "video" => parts.push(format!("video {}", of("model", "type"))),
        "rng" => parts.push(format!("random numbers {}", of("backend", "model"))),
        "tpm" => {
            let version = of("backend", "version");
            parts.push(format!("tpm {} {version}", of("backend", "type")));
        }
        "filesystem" => {
            let source = device.child("source").map(words).unwrap_or_default();
            parts.push(format!("shared directory: {source} as {}", of("target", "dir")));
        }
        "memory" => {
            let target = device.child("target").map(words).unwrap_or_default();
            let model = device.attribute("model").unwrap_or_default();
            parts.push(format!("memory module {model} {target}"));
        }
        other => {
            let model = device.attribute("model").unwrap_or_default();
            parts.push(format!("{other} {kind}{model}"));
        }
    }
}

fn network_card(device: &Element, parts: &mut Vec<String>) {
    const PLAIN: [&str; 9] =
        ["mac", "source", "model", "address", "alias", "target", "vlan", "rom", "driver"];
    let address = device.of("mac", "address").to_ascii_lowercase();
    let kind = device.attribute("type").unwrap_or_default();
    let source = device.child("source");
    // Of a network of libvirt, a card that runs has its bridge and port there, too.
    let source = source.and_then(|source| {
        ["network", "bridge", "dev"].iter().find_map(|name| source.attribute(name))
    });
    let vlan = device.child("vlan").map(|vlan| format!(", {}", words(vlan))).unwrap_or_default();
    let model = device.of("model", "type");
    let source = source.unwrap_or_default();
    parts.push(format!("network card {address} on {kind} {source} ({model}{vlan})"));
    for other in others(device, &PLAIN) {
        parts.push(format!("network card {address}: {other}"));
    }
}

#[cfg(test)]
mod tests;
