//! The machine: an OS disk, a pool of two, a key stick, a NIC.

use std::path::Path;

use bedplate_qemu_harness::machine::{Disk, DiskKind, Format, Machine};

use crate::seed::{self, KEY, MAC, STICK};

/// Its name.
pub const HOST: &str = "attic";
/// `[flake].remote`; nobody answers there.
pub const REMOTE: &str = "git@git.example.org:me/infra.git";
/// The secret that lies in an age file.
pub const AGE_SECRET: &str = "wireguard";
/// The secret that lies in a sops file.
pub const SOPS_SECRET: &str = "user-data";
/// Where in the sops file.
pub const SOPS_KEY: &str = "vm/user-data";
/// Who reads the second secret: accounts that every Debian has.
pub const READERS: (&str, &str) = ("backup", "operator");

const GIB: u64 = 1 << 30;
const MEMORY_MIB: u32 = 2048;

/// Its disks but the medium.
pub fn disks(directory: &Path) -> Vec<Disk> {
    let disk = |role: &str, kind: DiskKind, size: u64, format: Format| Disk {
        role: role.to_owned(),
        kind,
        serial: format!("EN{}0001", role.to_uppercase()),
        size,
        file: directory.join(format!("{role}.img")),
        format,
        read_only: false,
        boot_index: (role == "os").then_some(1),
    };
    vec![
        disk("os", DiskKind::Nvme, 12 * GIB, Format::Qcow2),
        disk("one", DiskKind::Nvme, GIB, Format::Qcow2),
        disk("two", DiskKind::Nvme, GIB, Format::Qcow2),
        disk(KEY, DiskKind::UsbStick, 64 << 20, Format::Raw),
    ]
}

/// The machine around some disks.
pub fn machine(disks: Vec<Disk>, ssh_port: u16) -> Machine {
    seed::machine(HOST, disks, MEMORY_MIB, ssh_port)
}

/// The text of its `host.toml`; root logs in with `ssh_key`.
pub fn host_toml(disks: &[Disk], ssh_key: &str) -> String {
    let (owner, group) = READERS;
    let mut text = format!(
        "schema = 1\n\n[host]\nid = \"5e6f1c2d-7a1b-4c3d-8e9f-0a1b2c3d4e5f\"\nname = \"{HOST}\"\n\
         platform = \"embedded\"\nstate_version = \"26.05\"\n\n\
         [host.users.root]\nssh_keys = [{ssh_key:?}]\n\n\
         [os]\ndisk = \"os\"\nesp_size = \"512MiB\"\n\n\
         [unlock]\ntimeout_seconds = 15\nderivation = \"minimal\"\n\n\
         [[unlock.sticks]]\nvolume_id = \"{STICK}\"\n\n\
         [pools.data]\nmount = \"/mnt/data\"\ndisks = [\"one\", \"two\"]\n\n\
         [network.bridges.br0]\nnic = {{ mac = \"{MAC}\" }}\n\n\
         [secrets.{AGE_SECRET}]\nage = \"{AGE_SECRET}.age\"\n\n\
         [secrets.{SOPS_SECRET}]\nsops = \"secrets.yaml\"\nkey = \"{SOPS_KEY}\"\n\
         owner = \"{owner}\"\ngroup = \"{group}\"\n\n\
         [flake]\nremote = \"{REMOTE}\"\n\n\
         [install]\nunattended = true\nthen = \"poweroff\"\n"
    );
    for disk in disks.iter().filter(|disk| disk.role != KEY) {
        let (role, id, serial) = (&disk.role, disk.by_id(), &disk.serial);
        text += &format!(
            "\n[disks.{role}]\nid = \"{id}\"\nexpect_serial = \"{serial}\"\nwipe = \"ours\"\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_valid_and_names_both_secrets() {
        let text = host_toml(
            &disks(Path::new("/d")),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv story",
        );
        let host = crate::answers::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let keys: Vec<String> = host.repository_secrets().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["secrets.user-data", "secrets.wireguard"]);
        assert_eq!((host.disks.len(), host.host.name.as_str()), (3, HOST));
        assert_eq!(host.flake.remote.as_deref(), Some(REMOTE));
    }
}
