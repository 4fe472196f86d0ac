//! Disks: each has one use, and what is kept is kept whole.

use std::collections::BTreeMap;

use super::Report;
use crate::problem::quote;
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::name::Role;

impl Report<'_> {
    /// Each disk has one use.
    pub(super) fn disks(&self, host: &HostFile) {
        if host.disks.is_empty() {
            self.wrong(
                "disks",
                "no disk is declared".into(),
                "write `[disks.os]` with the `id` of the OS disk",
            );
        }
        let mut by_id: BTreeMap<&str, &str> = BTreeMap::new();
        for (role, disk) in host.disks.iter().filter(|(_, disk)| !disk.id.is_empty()) {
            if let Some(first) = by_id.insert(&disk.id, role) {
                let message = format!("{} is the id of `disks.{first}` too", quote(&disk.id));
                self.wrong(
                    &format!("disks.{role}.id"),
                    message,
                    "each role needs a disk of its own",
                );
            }
        }
        let mut used: BTreeMap<&str, String> = BTreeMap::new();
        self.use_disk(host, "os.disk", &host.os.disk, &mut used);
        for (name, pool) in &host.pools {
            for (index, role) in pool.disks.iter().enumerate().filter(|(_, role)| !role.is_empty())
            {
                self.use_disk(host, &format!("pools.{name}.disks[{index}]"), role, &mut used);
            }
            if pool.disks.len() < 2 {
                let message = format!("RAID1 over {} disk keeps no copy", pool.disks.len());
                self.wrong(&format!("pools.{name}.disks"), message, "name two disks or more");
            }
        }
        self.mirror(host, &mut used);
        self.kept(host);
        if self.incomplete("pools") || self.incomplete("os") {
            return;
        }
        for role in host.disks.keys().filter(|role| !used.contains_key(role.as_str())) {
            let help =
                format!("add \"{role}\" to the `disks` of a pool, or remove `[disks.{role}]`");
            self.wrong(&format!("disks.{role}"), "no section uses this disk".into(), help);
        }
    }

    fn use_disk<'h>(
        &self,
        host: &HostFile,
        path: &str,
        role: &'h str,
        used: &mut BTreeMap<&'h str, String>,
    ) {
        if !host.disks.contains_key(role) {
            self.wrong(
                path,
                format!("there is no `[disks.{role}]`"),
                self.known(host.disks.keys(), role),
            );
        }
        if let Some(first) = used.insert(role, path.to_owned()) {
            self.wrong(
                path,
                format!("\"{role}\" is used by `{first}` already"),
                "use each disk once",
            );
        }
    }

    /// The mirror of the ESP is another disk than the OS disk: one of its own, or a member.
    fn mirror<'h>(&self, host: &'h HostFile, used: &mut BTreeMap<&'h str, String>) {
        let (path, Some(role)) = ("os.esp_mirror", &host.os.esp_mirror) else { return };
        if *role == host.os.disk {
            let message = format!("\"{role}\" is the OS disk itself");
            self.wrong(path, message, "name another disk, or remove `esp_mirror`");
        } else if !used.contains_key(role.as_str()) {
            self.use_disk(host, path, role, used);
        }
    }

    /// The OS disk and the mirror of its ESP are written; a pool is kept whole or not at all.
    fn kept(&self, host: &HostFile) {
        let never = |role: &Role| host.disks.get(role).is_some_and(|disk| disk.wipe == Wipe::Never);
        let wrong = |role: &str, message: String, help: &str| {
            self.wrong(&format!("disks.{role}.wipe"), message, help);
        };
        if never(&host.os.disk) {
            let help = "write `wipe = \"any\"` to install the OS anew, `never` only for pools";
            wrong(&host.os.disk, "the OS disk cannot be kept".into(), help);
        }
        if let Some(mirror) = host.os.esp_mirror.as_ref().filter(|role| never(role)) {
            let help = "remove `os.esp_mirror`, or mirror to a disk that is not kept";
            wrong(mirror, "a disk that is kept cannot mirror the ESP".into(), help);
        }
        for (name, pool) in &host.pools {
            let kept = pool.disks.iter().filter(|role| never(role)).count();
            if kept == 0 {
                continue;
            }
            for role in pool.disks.iter().filter(|role| !never(role)) {
                let message = format!("the other disks of pool `{name}` are kept");
                wrong(
                    role,
                    message,
                    "write `wipe = \"never\"` for all disks of a pool or for none",
                );
            }
        }
    }
}
