//! Domains as libvirt describes them (`virsh dumpxml`, <https://libvirt.org/formatdomain.html>).
//!
//! Everything in a definition is carried over, known to be what every machine has, or told.

mod devices;
mod disks;
mod rest;

use std::collections::BTreeMap;

use bedplate_libvirt::xml::{Boot, Element, boot};

use crate::check::{self, Base, Wanted};
use crate::draft::Draft;
use crate::note::{Imported, Notes, quote};
use crate::{ImportError, LIMIT};

/// A definition of a domain, or several one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Whose it is, for notes; none where there is one file.
    pub name: Option<&'a str>,
    /// The XML.
    pub xml: &'a str,
    /// Whether libvirt starts it at boot, where that is known: no definition says it.
    pub autostart: Option<bool>,
}

/// Turns definitions into sections of `host.toml`.
pub fn import(sources: &[Source<'_>], base: Base<'_>) -> Result<Imported, ImportError> {
    let mut notes = Notes::default();
    let drafts = drafts(sources, &base.pools(), &mut notes)?;
    Ok(check::machines(drafts, &Wanted::default(), base, notes))
}

/// The machines of all definitions.
pub(crate) fn drafts(
    sources: &[Source<'_>],
    pools: &Pools,
    notes: &mut Notes,
) -> Result<Vec<Draft>, ImportError> {
    let mut drafts = Vec::new();
    for source in sources {
        notes.source = source.name.map(str::to_owned);
        if source.xml.len() > LIMIT {
            return Err(ImportError::too_long());
        }
        let roots = Element::parse_all(source.xml)?;
        for domain in domains(&roots)? {
            drafts.extend(draft(domain, source.autostart, pools, notes));
        }
    }
    Ok(drafts)
}

/// The domains of all documents of a text.
fn domains(roots: &[Element]) -> Result<Vec<&Element>, ImportError> {
    let mut found = Vec::new();
    for root in roots {
        match root.name.as_str() {
            "domain" => found.push(root),
            // Of a domain that runs, as libvirt keeps it; of a snapshot; of lists that programs write.
            "domstatus" | "domainsnapshot" | "domains" => found.extend(root.all("domain")),
            other => {
                let what = format!(
                    "this is {}, and no <domain> as `virsh dumpxml` prints it",
                    quote(other)
                );
                return Err(ImportError::at(root, what));
            }
        }
    }
    let Some(root) = roots.first() else {
        return Err(ImportError::whole("there is no <domain> in it, or it is cut off"));
    };
    if found.is_empty() {
        return Err(ImportError::at(root, "there is no <domain> in it"));
    }
    Ok(found)
}

/// Pools by their mounts.
type Pools = BTreeMap<String, String>;

/// A domain while it is carried over.
struct Domain<'a> {
    domain: &'a Element,
    draft: Draft,
    notes: &'a mut Notes,
}

fn draft(
    domain: &Element,
    autostart: Option<bool>,
    pools: &Pools,
    notes: &mut Notes,
) -> Option<Draft> {
    let name = domain.child("name").map(|name| name.text.as_str()).unwrap_or_default();
    if let Some(why) = unfit(domain) {
        notes.open(
            domain,
            if name.is_empty() { "domain" } else { name },
            format!("left out: {why}"),
        );
        return None;
    }
    let draft = Draft::renamed(name, domain.into(), notes)?;
    let mut domain = Domain { domain, draft, notes };
    domain.amounts();
    domain.firmware();
    let empty = Element::default();
    let devices = domain.domain.child("devices").unwrap_or(&empty);
    domain.disks(devices, pools);
    domain.devices(devices);
    domain.rest();
    domain.autostart(autostart);
    Some(domain.draft)
}

/// Why a domain is none that `host.toml` could describe.
fn unfit(domain: &Element) -> Option<String> {
    let kind = domain.attribute("type").unwrap_or_default();
    if !["kvm", "qemu", "test", ""].contains(&kind) {
        return Some(format!(
            "it is run by {}, and Bedplate runs guests by KVM alone",
            quote(kind)
        ));
    }
    let os = domain.child("os")?.child("type")?;
    let arch = os.attribute("arch").unwrap_or("x86_64");
    if os.text != "hvm" {
        return Some(format!("it is {}, and no whole machine (`hvm`)", quote(&os.text)));
    }
    (arch != "x86_64")
        .then(|| format!("its processor is {}, and Bedplate makes x86_64 alone", quote(arch)))
}

impl Domain<'_> {
    fn open(&mut self, at: &Element, key: &str, message: impl Into<String>) {
        let about = self.draft.about(key);
        self.notes.open(at, &about, message);
    }

    fn tell(&mut self, at: &Element, key: &str, message: impl Into<String>) {
        let about = self.draft.about(key);
        self.notes.tell(at, &about, message);
    }

    /// Memory and processors.
    fn amounts(&mut self) {
        let Some(memory) = self.domain.child("memory") else {
            return self.open(self.domain, "ram_mb", "it says nothing of memory; fill it in");
        };
        let kibibytes = memory.kibibytes();
        self.draft.number("ram_mb", kibibytes / 1024, memory.into(), self.notes);
        if kibibytes % 1024 != 0 {
            self.tell(
                memory,
                "ram_mb",
                format!("{kibibytes} KiB are no whole number of MiB; rounded down"),
            );
        }
        if let Some(current) = self.domain.child("currentMemory") {
            let now = current.kibibytes();
            if now != kibibytes {
                let message = format!(
                    "it begins with {} MiB, and host.toml knows one amount; left out",
                    now / 1024
                );
                self.open(current, "currentMemory", message);
            }
        }
        let Some(vcpu) = self.domain.child("vcpu") else {
            return self.draft.line("vcpu", 1);
        };
        match vcpu.text.trim().parse() {
            Ok(number) => self.draft.number("vcpu", number, vcpu.into(), self.notes),
            Err(_) => {
                self.open(vcpu, "vcpu", format!("left out: {} is no number", quote(&vcpu.text)))
            }
        }
        if let Some(now) = vcpu.attribute("current").filter(|now| *now != vcpu.text.trim()) {
            let message = format!(
                "it begins with {} of them, and host.toml knows one number; left out",
                quote(now)
            );
            self.open(vcpu, "vcpu", message);
        }
        if let Some(set) = vcpu.attribute("cpuset") {
            let message = format!(
                "it is pinned to the processors {}, which host.toml does not know; left out",
                quote(set)
            );
            self.open(vcpu, "vcpu", message);
        }
    }

    fn firmware(&mut self) {
        let empty = Element::default();
        let os = self.domain.child("os").unwrap_or(&empty);
        let firmware = match boot(os) {
            Boot::Bios => "bios",
            Boot::Uefi => "uefi",
            Boot::SecureBoot => "uefi-secure-boot",
        };
        self.draft.line("firmware", firmware);
        let loader = os.child("loader").filter(|_| boot(os) == Boot::Bios);
        if let Some(loader) = loader {
            let message = format!(
                "its firmware is the file {}, taken for a BIOS: write `firmware = \"uefi\"` where it is that",
                quote(&loader.text)
            );
            self.open(loader, "firmware", message);
        }
        if let Some(nvram) = os.child("nvram") {
            let message = "the variables of its firmware are not carried over: it boots by the path \
                           that every disk has (\\EFI\\BOOT\\BOOTX64.EFI), or by an entry made anew";
            self.tell(nvram, "nvram", message);
        }
        let machine = os.of("type", "machine");
        if !machine.is_empty() && !machine.contains("q35") {
            let message = format!(
                "it is built as {}, and by Bedplate as q35: devices are at other places, and network \
                 cards may have other names in the guest",
                quote(machine)
            );
            self.open(os, "machine", message);
        }
        for child in &os.children {
            match child.name.as_str() {
                "type" | "loader" | "nvram" | "firmware" | "bootmenu" | "smbios" => {}
                "boot" if matches!(child.attribute("dev"), Some("hd" | "cdrom")) => {}
                _ => self.left_out(child),
            }
        }
    }

    fn autostart(&mut self, known: Option<bool>) {
        match known {
            Some(is_started) => self.draft.line("autostart", is_started),
            None => {
                let message = "a definition does not say whether libvirt starts it at boot; host.toml \
                               means that it does: see `virsh dominfo`, and write `autostart = false` where it does not";
                self.tell(self.domain, "autostart", message);
            }
        }
    }

    /// Something that `host.toml` has no room for.
    fn left_out(&mut self, element: &Element) {
        let what = words(element);
        let key = element.name.as_str();
        self.open(element, key, format!("host.toml has no room for {}; left out", quote(&what)));
    }
}

/// An element in a line: its name, its attributes and its text, with those of what is in it.
fn words(element: &Element) -> String {
    const LONG: usize = 200;
    let mut line = element.name.clone();
    for (key, value) in &element.attributes {
        line += &format!(" {key}={value}");
    }
    if !element.text.is_empty() {
        line += &format!(" {}", element.text);
    }
    for child in
        element.children.iter().filter(|child| element.name == "source" || child.name != "address")
    {
        if line.len() > LONG {
            break;
        }
        line += &format!(" {}", words(child));
    }
    line
}
