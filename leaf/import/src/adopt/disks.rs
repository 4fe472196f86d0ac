//! Disks, the OS and pools.

use std::collections::BTreeSet;

use bedplate_document::rules;
use toml_edit::{Array, InlineTable, Value};

use super::{Disk, FileSystem, Writer};
use crate::note::quote;

impl Writer<'_> {
    pub(super) fn disks(&mut self) {
        let machine = self.machine;
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let is_root = |it: &&FileSystem| it.mounts.iter().any(|(_, point)| point == "/");
        let os = machine.file_systems.iter().find(is_root);
        match os.and_then(|os| Some((os, os.disks.first()?))) {
            Some((os, disk)) => {
                used.insert(disk);
                self.disk("os", disk, false);
                self.os(os);
            }
            None => {
                self.open("disks.os", "nothing is found below `/`; write `[disks.os]` and `[os]`")
            }
        }
        for pool in machine.file_systems.iter().filter(|it| !is_root(it)) {
            let disks: Vec<&str> = pool.disks.iter().map(String::as_str).collect();
            if pool.kind != "btrfs" || disks.iter().any(|disk| used.contains(disk)) {
                let points: Vec<_> = pool.mounts.iter().map(|(_, point)| quote(point)).collect();
                let message = format!(
                    "{} at {} is left out: a pool is a btrfs on disks of its own",
                    quote(&pool.kind),
                    points.join(", ")
                );
                self.open("pools", message);
                continue;
            }
            used.extend(&disks);
            self.pool(pool, &disks);
        }
        for disk in machine.disks.iter().filter(|disk| !used.contains(disk.kernel_name.as_str())) {
            if !disk.is_removable {
                let name = quote(disk.id.as_deref().unwrap_or(&disk.kernel_name));
                self.tell("disks", format!("{name} has no file system that is mounted; left out"));
            }
        }
    }

    fn disk(&mut self, role: &str, kernel_name: &str, is_kept: bool) {
        let about = format!("disks.{role}");
        let found = self.machine.disks.iter().find(|disk| disk.kernel_name == kernel_name);
        self.text += &format!("[disks.{role}]\n");
        let id = found.and_then(|disk| disk.id.as_deref());
        match id {
            Some(id) => self.line(&format!("{about}.id"), Some(id), rules::by_id),
            None => {
                self.text += "# id = \"…\"\n";
                let message = format!(
                    "{} has no name under /dev/disk/by-id that stays its own",
                    quote(kernel_name)
                );
                self.open(&format!("{about}.id"), message);
            }
        }
        let Some(disk) = found else { return self.text += "\n" };
        if let Some(serial) = disk.serial.as_deref().filter(|serial| rules::serial(serial).is_ok())
        {
            self.text += &format!("expect_serial = {}\n", Value::from(serial));
        }
        self.text += &format!("expect_size = {}\n", disk.size);
        // What is guessed otherwise: only NVMe is flash.
        if !disk.rotates && !id.is_some_and(|id| id.starts_with("nvme-")) {
            self.text += "media = \"ssd\"\n";
        }
        if is_kept {
            self.text += "wipe = \"never\"\n";
        }
        self.text += "\n";
        self.foreign(&about, disk);
    }

    /// Bedplate installs onto such a disk anew.
    fn foreign(&mut self, about: &str, disk: &Disk) {
        if !disk.is_sealed {
            let message = "Bedplate has not laid it out: an installation would make it anew, and by default \
                           refuses to while something is on it";
            self.tell(about, message);
        }
    }

    fn os(&mut self, file_system: &FileSystem) {
        self.text += "[os]\ndisk = \"os\"\n";
        if file_system.disks.len() > 1 {
            self.open("os.disk", "the system is on more than one disk, and by host.toml on one");
        }
        if file_system.kind != "btrfs" || !file_system.is_encrypted {
            let message = format!(
                "the system is on {}{}, and by Bedplate on an encrypted btrfs",
                quote(&file_system.kind),
                if file_system.is_encrypted { "" } else { " without encryption" }
            );
            self.open("os", message);
        }
        let mut subvolumes = InlineTable::new();
        for (path, point) in file_system.mounts.iter().filter(|_| file_system.kind == "btrfs") {
            let name = path.trim_start_matches(['/', '@']).replace('/', "-");
            let name = if name.is_empty() { "root" } else { &name };
            let fits = rules::role(name).is_ok() && rules::mount_point(point).is_ok();
            if fits && !subvolumes.contains_key(name) {
                subvolumes.insert(name, Value::from(point.as_str()));
            } else {
                let message = format!("{} at {} is left out", quote(path), quote(point));
                self.tell("os.subvolumes", message);
            }
        }
        if subvolumes.iter().any(|(_, point)| point.as_str() == Some("/nix")) {
            self.text += &format!("subvolumes = {subvolumes}\n");
        }
        self.text += "\n";
    }

    fn pool(&mut self, pool: &FileSystem, disks: &[&str]) {
        // The directory of it that is nearest to its root is the mount.
        let first = pool.mounts.iter().min_by_key(|(root, point)| (root.len(), point.len()));
        let Some((_, mount)) = first else { return };
        let last = mount.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let mut name = if rules::pool(&last).is_ok() { last } else { "pool".to_owned() };
        if self.pools.values().any(|other| *other == name) {
            name = format!("{name}-{}", self.pools.len() + 1);
        }
        let about = format!("pools.{name}");
        // A pool is kept as a whole.
        let all = &self.machine.disks;
        let is_sealed = |name: &&str| all.iter().any(|it| it.kernel_name == **name && it.is_sealed);
        let is_kept = disks.iter().all(is_sealed);
        let mut roles = Array::new();
        for (index, disk) in disks.iter().enumerate() {
            let role = format!("{name}-{}", index + 1);
            self.disk(&role, disk, is_kept);
            roles.push(role);
        }
        self.text += &format!("[pools.{name}]\n");
        self.line(&format!("{about}.mount"), Some(mount), rules::absolute_path);
        self.text += &format!("disks = {roles}\n\n");
        for (path, point) in pool.mounts.iter().filter(|(_, point)| point != mount) {
            let message = format!(
                "a pool is mounted in one place; {} at {} is left out",
                quote(path),
                quote(point)
            );
            self.open(&about, message);
        }
        if !pool.is_encrypted {
            self.open(&about, "it is not encrypted, and a pool of Bedplate is");
        }
        for (what, levels) in [("data", &pool.data), ("metadata", &pool.metadata)] {
            if !levels.is_empty() && levels.iter().any(|level| level != "raid1") {
                let message =
                    format!("its {what} is {}, and by host.toml raid1", quote(&levels.join(", ")));
                self.open(&about, message);
            }
        }
        self.pools.insert(mount.clone(), name);
    }
}
