//! A machine that runs, as the `host.toml` that describes it.
//!
//! What is found is handed in; what Bedplate would lay out otherwise, and what cannot be seen from
//! outside, is told.

mod disks;
mod exports;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use bedplate_document::rules;
use toml_edit::Value;

use crate::check;
use crate::libvirt::{self, Source};
use crate::note::{Imported, Notes, Place, quote};

/// Nothing has a line here.
const NOWHERE: Place = Place { line: 1, column: 1 };

/// A machine, as it was found.
#[derive(Debug, Clone, Default)]
pub struct Machine<'a> {
    /// Its host name.
    pub name: Option<String>,
    /// Whether NixOS runs on it, and which release.
    pub nixos: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
    /// Locale, such as `en_US.UTF-8`.
    pub locale: Option<String>,
    /// Whether it booted by UEFI.
    pub is_uefi: bool,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// What is mounted of them.
    pub file_systems: Vec<FileSystem>,
    /// VFAT volumes on USB, by their ids: one may be the key stick.
    pub sticks: Vec<String>,
    /// Names of its NICs.
    pub nics: Vec<String>,
    /// What `ip -details -json address show` says.
    pub links: &'a str,
    /// What `ip -json route show default` says.
    pub routes: &'a str,
    /// What `/etc/resolv.conf` says.
    pub resolvers: &'a str,
    /// Files of exports(5), each with its path.
    pub exports: Vec<(String, String)>,
    /// Domains of libvirt.
    pub domains: Vec<Source<'a>>,
}

/// A whole disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Kernel name, such as `sda`.
    pub kernel_name: String,
    /// The name under `/dev/disk/by-id` that is best to write; none where it has none of its own.
    pub id: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Whether it rotates.
    pub rotates: bool,
    /// Whether it is on USB, or can be removed.
    pub is_removable: bool,
    /// Whether an installation of ours on it was finished.
    pub is_sealed: bool,
}

/// A file system that is mounted.
#[derive(Debug, Clone, Default)]
pub struct FileSystem {
    /// `btrfs`, `ext4` and the like.
    pub kind: String,
    /// Kernel names of the disks that it is on.
    pub disks: Vec<String>,
    /// Whether a LUKS volume lies between.
    pub is_encrypted: bool,
    /// How data is kept.
    pub data: Vec<String>,
    /// How metadata is kept.
    pub metadata: Vec<String>,
    /// Where it is mounted, each with the directory of it that is seen there.
    pub mounts: Vec<(String, String)>,
}

struct Writer<'a> {
    machine: &'a Machine<'a>,
    text: String,
    notes: Notes,
    /// Names of pools by their mounts.
    pools: BTreeMap<String, String>,
}

/// Describes a machine. `id` becomes `host.id`.
pub fn describe(machine: &Machine<'_>, id: &str) -> Imported {
    let text = String::new();
    let notes = Notes::default();
    let mut writer = Writer { machine, text, notes, pools: BTreeMap::new() };
    writer.host(id);
    writer.disks();
    writer.unlock();
    writer.network();
    writer.machines();
    writer.exports();
    writer.done()
}

impl Writer<'_> {
    fn open(&mut self, about: &str, message: impl Into<String>) {
        self.notes.open(NOWHERE, about, message);
    }

    fn tell(&mut self, about: &str, message: impl Into<String>) {
        self.notes.tell(NOWHERE, about, message);
    }

    /// A line, where the rule takes the text; without one it is told.
    fn line(&mut self, about: &str, text: Option<&str>, rule: rules::Rule) {
        let key = about.rsplit('.').next().unwrap_or(about);
        match text.map(|text| (text, rule(text))) {
            Some((text, Ok(()))) => self.text += &format!("{key} = {}\n", Value::from(text)),
            Some((_, Err(wrong))) => {
                self.text += &format!("# {key} = \"…\"\n");
                self.open(about, format!("left out: {}; {}", wrong.message, wrong.help));
            }
            None => {}
        }
    }

    fn host(&mut self, id: &str) {
        let machine = self.machine;
        self.text += &format!("schema = 1\n\n[host]\nid = {}\n", Value::from(id));
        let name = machine.name.as_deref().map(str::to_ascii_lowercase);
        let name = name.map(|name| name.split('.').next().unwrap_or_default().to_owned());
        self.line("host.name", Some(name.as_deref().unwrap_or_default()), rules::host_name);
        let platform = if machine.nixos.is_some() { "nixos" } else { "embedded" };
        let release =
            machine.nixos.as_deref().filter(|release| rules::state_version(release).is_ok());
        let release = release.unwrap_or("26.05");
        self.text += &format!("platform = \"{platform}\"\nstate_version = \"{release}\"\n");
        if machine.nixos.is_some() {
            self.open(
                "host.state_version",
                "write what `system.stateVersion` says, which need not be the release that runs",
            );
        }
        self.line("host.timezone", machine.timezone.as_deref(), rules::timezone);
        let locale = machine.locale.as_deref().map(|locale| locale.replace(".utf8", ".UTF-8"));
        self.line(
            "host.locale",
            locale.as_deref().filter(|it| !matches!(*it, "C" | "POSIX")),
            rules::locale,
        );
        self.text += "\n";
        self.open("host.users", "accounts and their ssh keys are not looked at: write `[host.users.NAME]`, or nobody can log in");
        if !machine.is_uefi {
            self.open("host", "it booted by BIOS, and Bedplate boots by UEFI alone");
        }
    }

    /// What opens the disks is not to be seen from outside.
    fn unlock(&mut self) {
        self.text += "[unlock]\n\n";
        match self.machine.sticks.as_slice() {
            [stick] if rules::volume_id(stick).is_ok() => {
                self.text +=
                    &format!("[[unlock.sticks]]\nvolume_id = {}\n\n", Value::from(stick.as_str()));
                let message = format!(
                    "the one VFAT volume on USB, {}, is taken for the key stick: look whether it is",
                    quote(stick)
                );
                self.open("unlock.sticks", message);
            }
            _ => {
                self.text += "# [[unlock.sticks]]\n# volume_id = \"1A2B-3C4D\"\n\n";
                self.open(
                    "unlock.sticks",
                    "write the volume id of the key stick (`blkid`), one at least",
                );
            }
        }
    }

    fn machines(&mut self) {
        let domains = self.machine.domains.clone();
        let mut names = BTreeSet::new();
        for domain in &domains {
            let called = domain.name.unwrap_or("libvirt");
            match libvirt::drafts(std::slice::from_ref(domain), &self.pools, &mut self.notes) {
                Ok(drafts) => {
                    for draft in drafts {
                        let about = draft.about("name");
                        if !names.insert(draft.name.clone()) {
                            let message = "there is a machine of this name already; left out";
                            self.notes.open(draft.place, &about, message);
                            continue;
                        }
                        self.text += &draft.text();
                        self.notes.open(draft.place, &about, in_the_way(called));
                    }
                }
                Err(error) => self.open(called, format!("left out: {}", error.what)),
            }
        }
        self.notes.source = None;
    }

    fn done(mut self) -> Imported {
        for (key, message) in check::problems(&self.text) {
            let of = key.strip_prefix("vms.").unwrap_or(&key);
            if !self.notes.knows(&key) && !self.notes.knows(of) {
                self.open(&key, format!("`bedplate check` refuses it: {message}"));
            }
        }
        Imported { text: self.text, notes: self.notes.done() }
    }
}

/// What becomes of a domain that Bedplate did not define.
fn in_the_way(domain: &str) -> String {
    format!(
        "libvirt's domain stands in the way: once it is off and its disk in its place, `virsh undefine \
         --nvram {domain}` leaves the disk alone, and converge defines it as host.toml says"
    )
}
