//! The document itself, and how it is installed.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key, words};
use super::{backups, disks, flake, host, network, nfs, notify, pools, unlock, vms};
use crate::rules;
use bedplate_model::host::{SCHEMA, Then};

pub(crate) const THENS: [(&str, Then); 3] = [("reboot", Then::Reboot), ("poweroff", Then::Poweroff), ("wait", Then::Wait)];

pub(crate) const DOCUMENT: Block = block("", &[
    key("schema", Integer(SCHEMA, SCHEMA), Required, Only, "1", "Version of this format."),
    key("host", Table(&host::HOST), Required, Inside, "", "Who the machine is."),
    key("disks", Named(rules::role, &disks::DISK), Required, Inside, "", "Every disk the installer may touch, by role."),
    key("os", Table(&disks::OS), Required, Inside, "", "What stands on the OS disk."),
    key("pools", Named(rules::pool, &pools::POOL), Derived("none"), Inside, "", "btrfs RAID1 pools by name."),
    key("unlock", Table(&unlock::UNLOCK), Required, Inside, "", "How the volumes are opened at boot."),
    key("network", Table(&network::NETWORK), Derived("no bridge"), Inside, "", "Bridges and the LAN."),
    key("vms", Named(rules::vm, &vms::GUEST), Derived("none"), Inside, "", "Virtual machines by name."),
    key("nfs", Table(&nfs::NFS), Derived("none"), Inside, "", "Directories exported over NFS."),
    key("backups", Named(rules::role, &backups::BACKUP), Derived("none"), Inside, "", "restic backups by name."),
    key("notify", Table(&notify::NOTIFY), Derived("nobody is told"), Inside, "", "Who is told when the machine wants somebody."),
    key("health", Table(&notify::HEALTH), Derived("all defaults"), Inside, "", "From when on somebody is told how pools and disks wear."),
    key("restore", Table(&backups::RESTORE), Derived("nothing comes back"), Inside, "", "What comes back from backups onto new pools, before anything uses them."),
    key("secrets", Named(rules::role, &flake::SECRET), Derived("none"), Inside, "", "Secrets of the repository that programs read from files in memory, `/run/bedplate/secrets/<name>`."),
    key("flake", Table(&flake::FLAKE), Derived("all defaults"), Inside, "", "The repository the host is enrolled into."),
    key("install", Table(&INSTALL), Derived("all defaults"), Inside, "", "How the installation runs."),
]);

pub(super) const INSTALL: Block = block("install", &[
    key("unattended", Boolean, Default(Value::Boolean(false)), Installer, "true", "Whether the installer goes ahead without asking."),
    key("expect_plan", Text(rules::sha256), Derived("any"), Plan, "\"<64 hexadecimal digits>\"", "The only plan hash that may be executed."),
    key("then", Choice(&words(THENS)), Default(Value::Text("reboot")), Plan, "\"poweroff\"", "What happens once all is installed; `wait` stays in the live system."),
]);
