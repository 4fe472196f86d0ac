//! The host and the mounts that tests of what runs on a host begin with.

use bedplate_model::host::HostFile;

use bedplate_tools::mounts::Mounts;

const DOCUMENT: &str = r#"
schema = 1
[host]
id = "6f0e8d0a-6c1c-4f4e-9d0a-2b0a3c9d7e11"
name = "hypervisor"
platform = "embedded"
state_version = "26.05"
[host.users.root]
ssh_keys = []
[disks.os]
id = "nvme-OS"
wipe = "blank"
[disks.vm1]
id = "nvme-VM1"
wipe = "blank"
[disks.vm2]
id = "nvme-VM2"
wipe = "blank"
[disks.bulk1]
id = "ata-B1"
wipe = "blank"
[disks.bulk2]
id = "ata-B2"
wipe = "blank"
[os]
disk = "os"
[pools.vmstore]
mount = "/mnt/vmstore"
disks = ["vm1", "vm2"]
[pools.bulk]
mount = "/mnt/bulk"
disks = ["bulk1", "bulk2"]
[unlock]
keyfile = "bedplate/keyfile"
recovery = { stick = "bedplate/recovery" }
[[unlock.sticks]]
volume_id = "1A2B-3C4D"
[network]
lan_cidr = "192.168.1.0/24"
[network.bridges.br0]
nic = "enp5s0"
dhcp = true
[vms.haos]
vcpu = 2
ram_mb = 4096
mac_address = "52:54:00:12:34:56"
disk_gb = 32
usb_devices = [{ vendor_id = "0x1a86", product_id = "0x7523" }]
[vms.haos.disk_image]
url = "http://192.168.1.2/haos.qcow2.xz"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
dest = "/mnt/vmstore/haos/haos.qcow2"
[[nfs.exports]]
path = "/mnt/bulk/apps-vm"
[[nfs.exports]]
path = "/mnt/bulk/homeassistant-vm"
clients = ["192.168.1.0/24", "100.64.0.0/10"]
[backups.apps]
repository = "/mnt/vmstore/backups/apps"
paths = ["/mnt/bulk/apps-vm"]
schedule = "daily"
keep = { daily = 7, weekly = 4, monthly = 6 }
password = { stick = "bedplate/restic-apps" }
[flake]
hosts = "nix/hosts"
[install]
unattended = true
"#;

/// A hypervisor with one machine, two exports and one backup.
pub fn intent() -> HostFile {
    match bedplate_document::parse(DOCUMENT, "host.toml") {
        Ok(intent) => intent,
        Err(problems) => panic!("{problems}"),
    }
}

/// The same host with more sections, or the mistakes that they have.
pub fn intent_with(sections: &str) -> Result<HostFile, String> {
    let text = format!("{DOCUMENT}{sections}");
    bedplate_document::parse(&text, "host.toml").map_err(|problems| problems.to_string())
}

/// Both pools mounted.
pub fn mounts() -> Mounts {
    Mounts::parse("1 1 0:1 / /mnt/bulk rw - btrfs a rw\n2 1 0:2 / /mnt/vmstore rw - btrfs b rw\n")
}

/// What a cloud image of a machine is told.
pub fn cloud_init() -> bedplate_model::host::CloudInit {
    bedplate_model::host::CloudInit {
        hostname: "haos".into(),
        user: "admin".into(),
        ssh_keys: vec!["ssh-ed25519 AAAA".into()],
        packages: Vec::new(),
    }
}
