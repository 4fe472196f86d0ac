//! The profile's `host.toml`, made to fit the machine of the stories.

use bedplate_document as document;
use bedplate_image_builder::identity::with_own_id;
use bedplate_model::host::HostFile;
use bedplate_qemu_harness::guest_disk::GuestDisk;
use bedplate_qemu_harness::machine::{Disk, HOST_ADDRESS};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::failure::Failure;
use crate::seed::{KEY, MAC, MIRROR, SECOND_KEY, SECOND_STICK};

/// Name of the VM.
pub const GUEST: &str = "guest";
/// Path of its image on the story's HTTP server.
pub const IMAGE_PATH: &str = "/guest.qcow2.xz";

/// Path on the story's HTTP server that the machine's messages are posted to.
pub const NOTIFY_PATH: &str = "/notify";
/// Where the machine looks for the token of its messages; a story that wants some puts it there.
pub const TOKEN_FILE: &str = "/var/lib/bedplate/notify-token";

/// What is put into the profile.
#[derive(Debug, Clone)]
pub struct Substitutions<'a> {
    /// The disks that are installed to, and the key stick.
    pub disks: &'a [Disk],
    /// root's ssh key.
    pub ssh_key: &'a str,
    /// Port of the story's HTTP server.
    pub http_port: u16,
    /// The VM's image.
    pub guest: &'a GuestDisk,
}

/// The text of `host.toml` for a machine, with an id of its own.
pub fn host_toml(profile: &str, with: &Substitutions<'_>) -> Result<String, Failure> {
    let profile = match with_own_id(profile)? {
        Some((text, _)) => text,
        None => profile.to_owned(),
    };
    let mut document: DocumentMut =
        profile.parse().map_err(|error| Failure::Unfit(format!("the profile: {error}")))?;
    let root = document.as_table_mut();
    // Enough for a stick under emulation; every story about a missing one or a lost disk waits.
    *at(root, &["unlock", "timeout_seconds"])? = value(15);
    if with.disks.iter().any(|disk| disk.role == MIRROR) {
        root.get_mut("disks").ok_or_else(|| lacks("disks"))?[MIRROR] = Item::Table(Table::new());
        *at(root, &["os", "esp_mirror"])? = value(MIRROR);
    }
    for disk in with.disks {
        name_disk(root, disk)?;
    }
    let mut keys = Array::new();
    keys.push(with.ssh_key);
    *at(root, &["host", "users", "root", "ssh_keys"])? = value(keys);
    let mut nic = InlineTable::new();
    nic.insert("mac", Value::from(MAC));
    *at(root, &["network", "bridges", "br0", "nic"])? = value(nic);
    add_guest(root, with);
    root["notify"] = Item::Table(notify(with.http_port));
    Ok(document.to_string())
}

fn name_disk(root: &mut Table, disk: &Disk) -> Result<(), Failure> {
    if disk.role == KEY {
        let sticks = root
            .get_mut("unlock")
            .and_then(|unlock| unlock.get_mut("sticks"))
            .and_then(Item::as_array_of_tables_mut)
            .and_then(|sticks| sticks.get_mut(0));
        let stick = sticks.ok_or_else(|| lacks("unlock.sticks"))?;
        stick["id"] = value(disk.by_id());
        return Ok(());
    }
    if disk.role == SECOND_KEY {
        let mut stick = Table::new();
        stick["volume_id"] = value(SECOND_STICK);
        stick["id"] = value(disk.by_id());
        let sticks = at(root, &["unlock", "sticks"])?.as_array_of_tables_mut();
        sticks.ok_or_else(|| lacks("unlock.sticks"))?.push(stick);
        return Ok(());
    }
    *at(root, &["disks", &disk.role, "id"])? = value(disk.by_id());
    let section = at(root, &["disks", &disk.role])?;
    section["expect_serial"] = value(disk.serial.as_str());
    section["expect_size"] = value(format!("{}B", disk.size));
    Ok(())
}

/// The machine's messages go to the story's HTTP server.
fn notify(http_port: u16) -> Table {
    let mut token = InlineTable::new();
    token.insert("file", Value::from(TOKEN_FILE));
    let mut notify = Table::new();
    notify["url"] = value(format!("http://{HOST_ADDRESS}:{http_port}{NOTIFY_PATH}"));
    notify["token"] = value(token);
    notify
}

fn add_guest(root: &mut Table, with: &Substitutions<'_>) {
    let guest = small_guest(GUEST, with.http_port, IMAGE_PATH, &with.guest.sha256);
    let mut machines = Table::new();
    machines.set_implicit(true);
    machines[GUEST] = Item::Table(guest);
    root["vms"] = Item::Table(machines);
}

/// A machine that boots a [`GuestDisk`], which the story's HTTP server offers at `path`.
pub fn small_guest(name: &str, http_port: u16, path: &str, sha256: &str) -> Table {
    let mut image = Table::new();
    image["url"] = value(format!("http://{HOST_ADDRESS}:{http_port}{path}"));
    image["sha256"] = value(sha256);
    image["dest"] = value(format!("/mnt/vmstore/{name}/{name}.qcow2"));
    let mut guest = Table::new();
    guest["vcpu"] = value(1);
    guest["ram_mb"] = value(256);
    // The small guest boots from its MBR.
    guest["firmware"] = value("bios");
    guest["autostart"] = value(true);
    guest["disk_image"] = Item::Table(image);
    guest
}

/// A backup of these paths, by the password that the key stick has from the installation.
pub fn backup(repository: &str, paths: &[&str]) -> Table {
    let mut password = InlineTable::new();
    password.insert("stick", Value::from("bedplate/restic-apps"));
    let mut backup = Table::new();
    backup["repository"] = value(repository);
    backup["paths"] = value(Array::from_iter(paths.iter().copied()));
    backup["password"] = value(password);
    backup
}

/// Its only backup.
pub fn back_up(document: &mut DocumentMut, name: &str, backup: Table) {
    let mut backups = Table::new();
    backups.set_implicit(true);
    backups[name] = Item::Table(backup);
    document["backups"] = Item::Table(backups);
}

fn at<'a>(root: &'a mut Table, path: &[&str]) -> Result<&'a mut Item, Failure> {
    let (last, sections) = path.split_last().ok_or_else(|| lacks(""))?;
    let mut table = root;
    for section in sections {
        let inner = table.get_mut(section).and_then(Item::as_table_mut);
        table = inner.ok_or_else(|| lacks(&path.join(".")))?;
    }
    Ok(table.entry(last).or_insert(Item::None))
}

fn lacks(what: &str) -> Failure {
    Failure::Unfit(format!("the profile lacks `{what}`"))
}

/// The validated document.
pub fn parse(text: &str) -> Result<HostFile, Failure> {
    document::parse(text, "host.toml")
        .map_err(|problems| Failure::Unfit(format!("host.toml has mistakes:\n{problems}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::seed::{self, Sizes};

    /// The disks of a machine, and the document that its answers are.
    fn answered(sizes: Sizes) -> (Vec<Disk>, HostFile) {
        let mut disks = seed::installed_disks(Path::new("/d"), sizes);
        disks.push(seed::key_stick(Path::new("/d")));
        disks.push(seed::second_key_stick(Path::new("/d")));
        let guest = GuestDisk { file: "/g".into(), sha256: "ab".repeat(32) };
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv story";
        let with = Substitutions { disks: &disks, ssh_key: key, http_port: 8080, guest: &guest };
        let profile = include_str!("../../profiles/hypervisor/host.toml");
        let host = parse(&host_toml(profile, &with).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(host.host.users["root"].ssh_keys, [key]);
        (disks, host)
    }

    #[test]
    fn the_profile_fits_the_machine() {
        let (disks, host) = answered(Sizes::Small);
        assert!(!bedplate_model::identity::is_example(host.host.id));
        for disk in &disks[..8] {
            assert_eq!(host.disks[disk.role.as_str()].id, disk.by_id());
        }
        assert_eq!(
            host.unlock.sticks[0].id.as_deref(),
            Some("usb-QEMU_QEMU_HARDDISK_BPKEY0001-0:0")
        );
        assert_eq!(host.unlock.sticks[1].volume_id, SECOND_STICK);
        assert_eq!(host.os.esp_mirror.as_deref(), Some(MIRROR));
        assert_eq!(host.vms[GUEST].bridge, "br0");
        assert_eq!(host.notify.unwrap().url, Some(format!("http://{HOST_ADDRESS}:8080/notify")));
    }

    #[test]
    fn at_true_sizes_the_machine_has_the_disks_of_its_owner_and_no_other() {
        let (disks, host) = answered(Sizes::True);
        assert_eq!((disks.len(), host.disks.len()), (9, 7));
        assert_eq!(host.os.esp_mirror, None);
    }
}
