//! What shows that each key of `host.toml` is honoured on the embedded platform where it says.

/// What shows that a key is honoured where it says.
pub enum Shown {
    /// What comes out there is something else when the values at these paths of `every_key.toml` are
    /// others. The first path is the key's own, or of what holds it.
    By(&'static [(&'static str, &'static str)]),
    /// The one value is all there is: this other one is refused.
    Refused(&'static str, &'static str),
    /// A program reads it while it runs: this expression stands in this directory or file.
    Read(&'static str, &'static str),
}

use Shown::{By, Read, Refused};

const OTHER_KEY: &str =
    "\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\"";
const OTHER_KEYS: &str =
    "[\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\"]";
const HTTPS: &str = "{ https = { url = \"https://git.example.org/me/infra.git\", pinned_key = \"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\" } }";
const FETCH: &str = "installer/src/steps/flake/fetch";
const BACKUP: &str = "host-service/src/backup";
const WEAR: &str = "host-service/src/wear.rs";
const NOTIFY: &str = "host-service/src/notify";
const SECRET: &str = "host-service/src/secret";

/// Section, key, and what shows it.
#[rustfmt::skip]
pub const TABLE: &[(&str, &str, Shown)] = &[
    ("", "schema", Refused("schema", "2")),

    ("host", "id", By(&[("host.id", "\"3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d22\"")])),
    ("host", "name", By(&[("host.name", "\"cellar\"")])),
    ("host", "platform", By(&[("host.platform", "\"nixos\"")])),
    ("host", "state_version", By(&[("host.state_version", "\"26.11\"")])),
    ("host", "timezone", By(&[("host.timezone", "\"Asia/Tokyo\"")])),
    ("host", "locale", By(&[("host.locale", "\"de_DE.UTF-8\"")])),
    ("host.users.<name>", "ssh_keys", By(&[("host.users.ada.ssh_keys", OTHER_KEYS)])),
    ("host.users.<name>", "groups", By(&[("host.users.ada.groups", "[\"libvirt\"]")])),

    ("disks.<role>", "id", By(&[("disks.os.id", "\"nvme-eui.0025385171b01234\"")])),
    ("disks.<role>", "expect_serial", By(&[("disks.os.expect_serial", "\"OTHER\"")])),
    ("disks.<role>", "expect_size", By(&[("disks.os.expect_size", "\"600GB\"")])),
    ("disks.<role>", "media", By(&[("disks.os.media", "\"hdd\"")])),
    ("disks.<role>", "wipe", Read("core/planner/src/content.rs", "match choice.disk.wipe")),

    ("os", "disk", By(&[("os.disk", "\"scratch1\""), ("pools.scratch.disks", "[\"os\", \"scratch2\"]")])),
    ("os", "esp_size", By(&[("os.esp_size", "\"2GiB\"")])),
    ("os", "esp_mirror", By(&[("os.esp_mirror", "\"vm1\"")])),
    ("os", "subvolumes", By(&[("os.subvolumes", "{ root = \"/\", nix = \"/nix\" }")])),

    ("pools.<name>", "mount", By(&[("pools.scratch.mount", "\"/mnt/other\"")])),
    ("pools.<name>", "raid", Refused("pools.scratch.raid", "\"raid10\"")),
    ("pools.<name>", "scrub", By(&[("pools.bulk.scrub", "\"weekly\"")])),
    ("pools.<name>", "disks", By(&[("pools.scratch.disks", "[\"scratch2\", \"scratch1\"]")])),

    ("unlock", "timeout_seconds", By(&[("unlock.timeout_seconds", "44")])),
    ("unlock", "keyfile", By(&[("unlock.keyfile", "\"other\"")])),
    ("unlock", "recovery", By(&[("unlock.recovery", "\"prompt\""), ("install.unattended", "false"), ("unlock.derivation", "\"measured\"")])),
    ("unlock", "derivation", Read("installer/src/steps/luks.rs", "unlock.derivation ==")),
    ("unlock.recovery", "stick", By(&[("unlock.recovery.stick", "\"other\"")])),
    ("unlock.sticks[]", "volume_id", By(&[("unlock.sticks.0.volume_id", "\"5E6F-7A8B\"")])),
    ("unlock.sticks[]", "id", By(&[("unlock.sticks.0.id", "\"usb-Other-0:0\"")])),

    ("network", "lan_cidr", By(&[("network.lan_cidr", "\"192.168.8.0/24\"")])),
    ("network.bridges.<name>", "nic", By(&[("network.bridges.br0.nic", "\"enp6s0\"")])),
    ("network.bridges.<name>.nic", "mac", By(&[("network.bridges.br1.nic.mac", "\"04:42:1a:01:02:05\"")])),
    ("network.bridges.<name>", "dhcp", By(&[("network.bridges.br0.dhcp", "false")])),
    ("network.bridges.<name>", "addresses", By(&[("network.bridges.br1.addresses", "[\"10.0.0.6/24\"]")])),
    ("network.bridges.<name>", "gateway", By(&[("network.bridges.br1.gateway", "\"10.0.0.3\"")])),
    ("network.bridges.<name>", "dns", By(&[("network.bridges.br1.dns", "[\"10.0.0.3\"]")])),
    ("network.bridges.<name>", "vlan_aware", By(&[("network.bridges.br1.vlan_aware", "true")])),
    ("network.bridges.<name>", "nat", By(&[("network.bridges.lab0.nat", "false")])),

    ("vms.<name>", "state", By(&[("vms.desk.state", "\"absent\"")])),
    ("vms.<name>", "kind", By(&[("vms.desk.kind", "\"haos\"")])),
    ("vms.<name>", "pool", By(&[("vms.desk.pool", "\"bulk\""), ("vms.desk.iso_image.dest", "\"/mnt/bulk/desk/own.iso\"")])),
    ("vms.<name>", "vcpu", By(&[("vms.apps.vcpu", "3")])),
    ("vms.<name>", "ram_mb", By(&[("vms.apps.ram_mb", "2049")])),
    ("vms.<name>", "mac_address", By(&[("vms.apps.mac_address", "\"52:54:00:12:34:57\"")])),
    ("vms.<name>", "disk_gb", By(&[("vms.desk.disk_gb", "65")])),
    ("vms.<name>", "bridge", By(&[("vms.desk.bridge", "\"br1\"")])),
    ("vms.<name>", "vlan", By(&[("vms.apps.vlan", "21")])),
    ("vms.<name>", "existing_disk", By(&[("vms.old.existing_disk", "\"other.qcow2\"")])),
    ("vms.<name>.nics[]", "bridge", By(&[("vms.desk.nics.0.bridge", "\"br1\""), ("network.bridges.br1.vlan_aware", "true")])),
    ("vms.<name>.nics[]", "mac_address", By(&[("vms.desk.nics.0.mac_address", "\"52:54:00:12:34:59\"")])),
    ("vms.<name>.nics[]", "vlan", By(&[("vms.desk.nics.0.vlan", "31")])),
    ("vms.<name>", "firmware", By(&[("vms.apps.firmware", "\"bios\"")])),
    ("vms.<name>", "disk_bus", By(&[("vms.apps.disk_bus", "\"sata\"")])),
    ("vms.<name>", "tpm", By(&[("vms.apps.tpm", "true")])),
    ("vms.<name>", "guest_agent", By(&[("vms.apps.guest_agent", "false")])),
    ("vms.<name>", "autostart", By(&[("vms.apps.autostart", "false")])),
    ("vms.<name>", "start_order", By(&[("vms.desk.start_order", "1"), ("vms.apps.start_order", "2")])),
    ("vms.<name>.cloud_init", "hostname", By(&[("vms.apps.cloud_init.hostname", "\"other\"")])),
    ("vms.<name>.cloud_init", "user", By(&[("vms.apps.cloud_init.user", "\"bob\"")])),
    ("vms.<name>.cloud_init", "ssh_keys", By(&[("vms.apps.cloud_init.ssh_keys", OTHER_KEYS)])),
    ("vms.<name>.cloud_init", "packages", By(&[("vms.apps.cloud_init.packages", "[\"vim\"]")])),
    ("vms.<name>.disk_image", "url", Read("machine/guests/src/vm/disk.rs", "&image.url")),
    ("vms.<name>.disk_image", "sha256", Read("machine/guests/src/vm/disk.rs", "&image.sha256")),
    ("vms.<name>.disk_image", "dest", By(&[("vms.apps.disk_image.dest", "\"/mnt/vmstore/apps/other.qcow2\"")])),
    ("vms.<name>.iso_image", "url", Read("machine/guests/src/vm/disk.rs", "&image.url")),
    ("vms.<name>.iso_image", "sha256", Read("machine/guests/src/vm/disk.rs", "&image.sha256")),
    ("vms.<name>.iso_image", "dest", By(&[("vms.desk.iso_image.dest", "\"/mnt/vmstore/desk/other.iso\"")])),
    ("vms.<name>.usb_devices[]", "vendor_id", By(&[("vms.apps.usb_devices.0.vendor_id", "\"0x1a87\"")])),
    ("vms.<name>.usb_devices[]", "product_id", By(&[("vms.apps.usb_devices.0.product_id", "\"0x7524\"")])),
    ("vms.<name>.usb_devices[]", "serial", Read("machine/guests/src/vm/usb.rs", "wanted.serial.as_ref()")),
    ("vms.<name>.usb_devices[]", "port", Read("machine/guests/src/vm/usb.rs", "wanted.port.as_ref()")),

    ("nfs", "v3", By(&[("nfs.v3", "true")])),
    ("nfs.exports[]", "path", By(&[("nfs.exports.0.path", "\"/mnt/bulk/other\"")])),
    ("nfs.exports[]", "clients", By(&[("nfs.exports.1.clients", "[\"10.0.0.0/8\"]")])),
    ("nfs.exports[]", "options", By(&[("nfs.exports.1.options", "[\"rw\"]")])),

    ("backups.<name>", "repository", By(&[("backups.apps.repository", "\"sftp:ada@example.org:/srv/other\"")])),
    ("backups.<name>", "paths", By(&[("backups.apps.paths", "[\"/mnt/bulk/other\"]")])),
    ("backups.<name>", "schedule", By(&[("backups.apps.schedule", "\"weekly\"")])),
    ("backups.<name>", "host_key", Read(BACKUP, "backup.host_key")),
    ("backups.<name>", "prune", By(&[("backups.apps.prune", "\"never\"")])),
    ("backups.<name>", "check", By(&[("backups.apps.check", "\"daily\"")])),
    ("backups.<name>", "check_data", By(&[("backups.apps.check_data", "\"never\"")])),
    ("backups.<name>", "drill", By(&[("backups.apps.drill", "\"weekly\"")])),
    ("backups.<name>", "stale_after_hours", By(&[("backups.apps.stale_after_hours", "51")])),
    ("backups.<name>.keep", "daily", Read(BACKUP, "keep.daily")),
    ("backups.<name>.keep", "weekly", Read(BACKUP, "keep.weekly")),
    ("backups.<name>.keep", "monthly", Read(BACKUP, "keep.monthly")),
    ("backups.<name>.password", "stick", By(&[("backups.apps.password.stick", "\"bedplate/other\"")])),
    ("backups.<name>.password", "prompt", By(&[("backups.apps.password", "{ prompt = \"bedplate/typed\" }")])),
    ("backups.<name>.password", "sops", By(&[("backups.apps.password", "{ sops = \"secrets.yaml\", key = \"restic\" }")])),
    ("backups.<name>.password", "key", Read(SECRET, "open_sops(file, key)")),
    ("backups.<name>.password", "age", By(&[("backups.apps.password", "{ age = \"restic.age\" }")])),
    ("backups.<name>.password", "file", Refused("backups.apps.password", "{ file = \"/var/lib/bedplate/password\" }")),
    ("backups.<name>.credentials", "stick", Read(BACKUP, "SecretReference::Stick(path) | SecretReference::Prompt(path)")),
    ("backups.<name>.credentials", "prompt", By(&[("backups.apps.credentials", "{ prompt = \"bedplate/typed\" }")])),
    ("backups.<name>.credentials", "sops", By(&[("backups.apps.credentials", "{ sops = \"secrets.yaml\", key = \"sftp\" }")])),
    ("backups.<name>.credentials", "key", Read(SECRET, "open_sops(file, key)")),
    ("backups.<name>.credentials", "age", By(&[("backups.apps.credentials", "{ age = \"sftp.age\" }")])),

    ("health", "fill", Read("host-service/src/pool/condition.rs", "host.health.fill")),
    ("health", "smart", Read(WEAR, "host.health.smart")),
    ("health", "sectors", Read(WEAR, "limits.sectors")),
    ("health", "worn", Read(WEAR, "limits.worn")),
    ("health", "celsius", Read(WEAR, "limits.celsius")),

    ("notify", "url", Read(NOTIFY, "&notify.url")),
    ("notify", "receiver", Read(NOTIFY, "notify.receiver")),
    ("notify", "remind_hours", Read(NOTIFY, "notify.remind_hours")),
    ("notify", "ping", Read(NOTIFY, "&notify.ping")),
    ("notify.token", "file", Read(NOTIFY, "SecretReference::File(path)")),
    ("notify.token", "sops", By(&[("notify.token", "{ sops = \"secrets.yaml\", key = \"notify\" }")])),
    ("notify.token", "key", Read(SECRET, "open_sops(file, key)")),
    ("notify.token", "age", By(&[("notify.token", "{ age = \"notify.age\" }")])),

    ("restore", "backups", By(&[("restore.backups", "[\"apps\"]")])),
    ("restore", "snapshot", Read("host-service/src/restore", "restore.snapshot")),
    ("secrets.<name>", "sops", By(&[("secrets.tunnel", "{ sops = \"secrets.yaml\", key = \"tunnel\" }")])),
    ("secrets.<name>", "key", Read(SECRET, "open_sops(file, key)")),
    ("secrets.<name>", "age", By(&[("secrets", "{}")])),
    ("secrets.<name>", "owner", Read(SECRET, "file.owner")),
    ("secrets.<name>", "group", Read(SECRET, "&file.group")),

    ("flake", "remote", By(&[("flake.remote", "\"git@git.example.org:me/other.git\"")])),
    ("flake", "hosts", By(&[("flake.hosts", "\"hosts\"")])),
    ("flake.source", "branch", By(&[("flake.source.branch", "\"other\"")])),
    ("flake.source.ssh", "url", By(&[("flake.source.ssh.url", "\"git@git.example.org:me/other.git\"")])),
    ("flake.source.ssh", "host_key", By(&[("flake.source.ssh.host_key", OTHER_KEY)])),
    ("flake.source.ssh.key", "stick", By(&[("flake.source.ssh.key.stick", "\"bedplate/other\"")])),
    ("flake.source.https", "url", By(&[("flake.source", HTTPS)])),
    ("flake.source.https", "pinned_key", Read(FETCH, "https.pinned_key")),
    ("flake.source.https", "certificate", Read(FETCH, "https.certificate")),
    ("flake.source.volume", "label", By(&[("flake.source", "{ volume = { label = \"INFRA\" } }")])),
    ("flake.source.volume", "path", Read(FETCH, "found.path")),
    ("flake.push", "host_key", By(&[("flake.push.host_key", OTHER_KEY)])),
    ("flake.push.key", "stick", By(&[("flake.push.key.stick", "\"bedplate/other\"")])),

    ("install", "unattended", Read("installer/src", "host.install.unattended")),
    ("install", "expect_plan", Read("core/planner/src", "install.expect_plan")),
    ("install", "then", By(&[("install.then", "\"reboot\"")])),
];
