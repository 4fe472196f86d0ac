//! Disks as disko describes them: its evaluated devices as JSON
//! (`nix eval --json .#nixosConfigurations.NAME.config.disko.devices`).
//!
//! Bedplate makes one layout: an OS disk with an ESP and an encrypted btrfs, and pools of btrfs RAID1
//! over encrypted disks. What is laid out so is carried over; everything else is told.

mod layout;

use std::collections::{BTreeMap, BTreeSet};

use bedplate_document::rules;
use bedplate_yaml::{Content, Node};
use toml_edit::{Array, InlineTable, Value};

use crate::check;
use crate::draft::refused;
use crate::note::{Imported, Note, Notes, quote};
use crate::{ImportError, tree};
use layout::{Disk, FileSystem, text};

/// Turns evaluated devices into sections of `host.toml`.
pub fn import(json: &str) -> Result<Imported, ImportError> {
    // A tab may stand between the values of JSON, and is none of their characters.
    let root = tree(&json.replace('\t', " "))?;
    let devices = devices(&root)?;
    let mut notes = Notes::default();
    let Some(entries) = devices.get("disk").filter(|disk| !disk.entries().is_empty()) else {
        return Err(ImportError::at(
            devices,
            "there is no `disk` in it, as `disko.devices` has it",
        ));
    };
    for (key, value) in devices.entries() {
        let name = key.text().unwrap_or_default();
        let is_empty = value.entries().is_empty() && value.items().is_empty();
        if name != "disk" && !is_empty && !name.starts_with('_') {
            notes.open(key, name, other(name));
        }
    }
    let disks = entries.entries().iter();
    let disks: Vec<Disk<'_>> =
        disks.map(|(name, disk)| layout::disk(name, disk, &mut notes)).collect();
    let by_path = disks.iter().flat_map(|disk| disk.paths().map(move |path| (path, disk)));
    let mut writer = Writer {
        disks: &disks,
        by_path: by_path.collect(),
        text: String::new(),
        pools: BTreeSet::new(),
        notes,
    };
    writer.all();
    Ok(writer.done(entries))
}

/// The devices, wherever they stand: by themselves, or in a configuration.
fn devices(root: &Node) -> Result<&Node, ImportError> {
    let ways: [&[&str]; 6] = [
        &[],
        &["devices"],
        &["disko", "devices"],
        &["config", "disko", "devices"],
        &["config", "devices"],
        &["disko"],
    ];
    let found = ways.iter().find_map(|way| {
        let at = way.iter().try_fold(root, |node, key| node.get(key));
        at.filter(|node| node.get("disk").is_some())
    });
    found.ok_or_else(|| {
        let what = match &root.content {
            Content::Map(_) => "there is no `disk` in it, as `disko.devices` has it".to_owned(),
            _ => format!("this is {}, and no evaluated `disko.devices`", root.kind()),
        };
        ImportError::at(root, what)
    })
}

fn other(kind: &str) -> String {
    match kind {
        "nodev" => "file systems in memory are left out: host.toml knows none".to_owned(),
        "mdadm" | "lvm_vg" | "zpool" | "bcachefs_filesystems" => {
            format!("{kind} is left out: Bedplate knows btrfs RAID1 alone")
        }
        other => format!("{} is left out", quote(other)),
    }
}

struct Writer<'a> {
    disks: &'a [Disk<'a>],
    text: String,
    /// The disks by the paths of what is on them.
    by_path: BTreeMap<String, &'a Disk<'a>>,
    /// Names of the pools so far.
    pools: BTreeSet<String>,
    notes: Notes,
}

impl<'a> Writer<'a> {
    fn all(&mut self) {
        let os = self.disks.iter().find(|disk| disk.is_os());
        let mut done: BTreeSet<&str> = BTreeSet::new();
        if let Some(os) = os {
            done.insert(os.name);
            self.disk("os", os);
            self.os(os);
        }
        let filled = self.disks.iter().filter(|disk| !done.contains(disk.name));
        for disk in filled.collect::<Vec<_>>() {
            if let Some(file_system) = &disk.file_system {
                let members = self.members(disk, file_system);
                done.extend(members.iter().map(|member| member.name));
                self.pool(disk, file_system, &members);
            }
        }
        for disk in self.disks.iter().filter(|disk| !done.contains(disk.name)) {
            let message = "no file system that could be carried over is on it; left out";
            self.notes.open(disk.node, disk.name, message);
        }
    }

    /// The disk of a file system, and those that it names beside.
    fn members(&self, disk: &'a Disk<'a>, file_system: &FileSystem<'a>) -> Vec<&'a Disk<'a>> {
        let others = file_system.beside.iter().filter_map(|path| self.by_path.get(path).copied());
        let others = others.filter(|other| other.name != disk.name);
        std::iter::once(disk).chain(others).collect()
    }

    /// The section of a disk; its place by which other tools call it stays behind.
    fn disk(&mut self, role: &str, disk: &Disk<'_>) {
        let about = format!("disks.{role}");
        self.text += &format!("[disks.{role}] # {}\n", comment(disk.name));
        let id = disk.device.and_then(|device| device.strip_prefix("/dev/disk/by-id/"));
        match (id, disk.device) {
            (Some(id), _) => match rules::by_id(id) {
                Ok(()) => self.text += &format!("id = {}\n", Value::from(id)),
                Err(wrong) => {
                    self.text += "# id = \"…\"\n";
                    refused(disk.node, &about, &wrong, &mut self.notes);
                }
            },
            (None, device) => {
                self.text += "# id = \"…\"\n";
                let message = format!(
                    "{} may be another disk at the next boot; fill in `id` by `ls -l /dev/disk/by-id`",
                    quote(device.unwrap_or("nothing"))
                );
                self.notes.open(disk.node, &about, message);
            }
        }
        // What is guessed otherwise: only NVMe is flash.
        if disk.discards && !id.is_some_and(|id| id.starts_with("nvme-")) {
            self.text += "media = \"ssd\"\n";
        }
        if !disk.is_encrypted {
            let message =
                "it is not encrypted; Bedplate encrypts every disk, and opens it by a key stick";
            self.notes.tell(disk.node, &about, message);
        }
        self.text += "\n";
    }

    fn os(&mut self, disk: &Disk<'_>) {
        self.text += "[os]\ndisk = \"os\"\n";
        if let Some(esp) = disk.esp {
            match layout::size(text(esp, "size").unwrap_or_default()) {
                Some(size) => self.text += &format!("esp_size = {}\n", Value::from(size)),
                None => {
                    let message = "the size of the ESP is not carried over: 1 GiB unless `esp_size` says another";
                    self.notes.open(esp, "os.esp_size", message);
                }
            }
        }
        let Some(file_system) = &disk.file_system else { return };
        let mut subvolumes = InlineTable::new();
        for (path, mount) in &file_system.mounts {
            let name = path.text.trim_start_matches('/').replace('/', "-");
            let name = name.trim_start_matches('@');
            let name = if name.is_empty() { "root" } else { name };
            let about = format!("os.subvolumes.{name}");
            let wrong = rules::role(name).and_then(|()| rules::mount_point(mount));
            match wrong {
                Ok(()) if subvolumes.contains_key(name) => {
                    self.notes.open(path.node, &about, "another subvolume has this name; left out");
                }
                Ok(()) => _ = subvolumes.insert(name, Value::from(*mount)),
                Err(wrong) => refused(path.node, &about, &wrong, &mut self.notes),
            }
        }
        if !subvolumes.is_empty() {
            self.text += &format!("subvolumes = {subvolumes}\n");
        }
        self.text += "\n";
        self.raid(disk, file_system, "os");
    }

    fn pool(&mut self, disk: &Disk<'_>, file_system: &FileSystem<'_>, members: &[&Disk<'_>]) {
        let name = self.pool_name(disk);
        let about = format!("pools.{name}");
        let mut roles = Vec::new();
        for (index, member) in members.iter().enumerate() {
            // A name that ends in a digit would run into the number.
            let between = if name.ends_with(|c: char| c.is_ascii_digit()) { "-" } else { "" };
            let role = format!("{name}{between}{}", index + 1);
            self.disk(&role, member);
            roles.push(role);
        }
        let mount = match file_system.mounts.as_slice() {
            [] => {
                let message = "it says nowhere that it is mounted; fill in `mount`";
                self.notes.open(disk.node, &about, message);
                None
            }
            [(_, mount), rest @ ..] => {
                for (path, mount) in rest {
                    let message = format!(
                        "a pool is mounted in one place; {} at {} is left out: it becomes a directory",
                        quote(&path.text),
                        quote(mount)
                    );
                    self.notes.open(path.node, &about, message);
                }
                Some(*mount)
            }
        };
        self.raid(disk, file_system, &about);
        if members.len() < 2 {
            let message =
                "it has one disk, and a pool of Bedplate has two at least: add one to `disks`";
            self.notes.open(disk.node, &about, message);
        }
        self.text += &format!("[pools.{name}]\n");
        match mount.map(|mount| (mount, rules::absolute_path(mount))) {
            Some((mount, Ok(()))) => self.text += &format!("mount = {}\n", Value::from(mount)),
            Some((_, Err(wrong))) => {
                self.text += "# mount = \"…\"\n";
                refused(disk.node, &about, &wrong, &mut self.notes);
            }
            None => self.text += "# mount = \"…\"\n",
        }
        let array: Array = roles.iter().map(String::as_str).collect();
        self.text += &format!("disks = {array}\n\n");
        self.pools.insert(name);
    }

    /// A name that no other pool has.
    fn pool_name(&self, disk: &Disk<'_>) -> String {
        let plain = disk.name.chars().filter(char::is_ascii_alphanumeric);
        let plain = plain.map(|c| c.to_ascii_lowercase());
        let mut name: String = plain.skip_while(char::is_ascii_digit).take(16).collect();
        if rules::pool(&name).is_err() {
            name = "pool".to_owned();
        }
        match self.pools.contains(&name) {
            true => format!("{name}-{}", self.pools.len() + 1),
            false => name,
        }
    }

    /// Bedplate keeps two copies of everything in a pool, and one on the OS disk. Metadata of which
    /// nothing is said is kept so by btrfs itself.
    fn raid(&mut self, disk: &Disk<'_>, file_system: &FileSystem<'_>, about: &str) {
        let is_pool = about != "os";
        let (data, metadata) = (file_system.data, file_system.metadata);
        let has_usual = match is_pool {
            true => [data == Some("raid1"), matches!(metadata, None | Some("raid1"))],
            false => [data, metadata].map(|level| matches!(level, None | Some("single" | "dup"))),
        };
        let levels = [("data", data), ("metadata", metadata)].into_iter().zip(has_usual);
        for ((what, level), _) in levels.filter(|(_, is_usual)| !is_usual) {
            let level = level.map_or("on one disk each".to_owned(), quote);
            let ours = if is_pool { "on two disks each (raid1)" } else { "on one disk" };
            let message = format!("its {what} is {level}, and by host.toml {ours}");
            self.notes.open(disk.node, about, message);
        }
    }

    fn done(mut self, entries: &Node) -> Imported {
        if !self.text.contains("[os]\n") {
            let message =
                "no disk has an ESP and a btrfs with `/` on it: write `[disks.os]` and `[os]`";
            self.notes.open(entries, "os", message);
        }
        let message = "host.toml says what the installer makes: these disks are formatted anew, and by \
                       default only where nothing is on them; save what they hold first";
        self.notes.tell(entries, "disks", message);
        let os = "[disks.os]\nid = \"nvme-Fresh_1\"\n[os]\ndisk = \"os\"\n";
        let os = if self.text.contains("[os]\n") { "" } else { os };
        for (key, message) in check::with_disks(&format!("{os}{}", self.text)) {
            if !self.notes.knows(&key) {
                self.notes.open(entries, &key, format!("`bedplate check` refuses it: {message}"));
            }
        }
        let notes: Vec<Note> = self.notes.done();
        Imported { text: self.text, notes }
    }
}

/// A name of others behind `#`: on one line.
fn comment(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
