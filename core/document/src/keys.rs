//! The table of known keys: what the decoder accepts and what the reference page lists.

use toml_edit::{Item, Value};

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// `"500GB"`, `"1GiB"` or a number of bytes.
    Size,
    /// A list of strings.
    Texts,
    /// A table whose keys this table knows.
    Table,
    /// A table of tables named by the user.
    Named,
    /// A list of tables.
    Tables,
    /// A table of strings named by the user.
    TextMap,
    /// A string or a table.
    TextOrTable,
}

impl Form {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Size => "a size such as \"500GB\", \"1GiB\", or a number of bytes",
            Self::Texts => "a list of strings",
            Self::Table => "a table",
            Self::Named => "a table of named tables",
            Self::Tables => "a list of tables",
            Self::TextMap => "a table of strings",
            Self::TextOrTable => "a string or a table",
        }
    }

    pub(super) fn accepts(self, item: &Item) -> bool {
        match self {
            Self::Text => item.is_str(),
            Self::Integer => item.is_integer(),
            Self::Boolean => item.is_bool(),
            Self::Size => item.is_str() || item.is_integer(),
            Self::Texts => item.as_array().is_some_and(|array| array.iter().all(Value::is_str)),
            Self::Table | Self::Named | Self::TextMap => item.is_table_like(),
            Self::Tables => {
                item.is_array_of_tables()
                    || item.as_array().is_some_and(|array| array.iter().all(Value::is_inline_table))
            }
            Self::TextOrTable => item.is_str() || item.is_table_like(),
        }
    }
}

/// What happens when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// A problem.
    Required,
    /// This value, in words.
    Default(&'static str),
}

/// One known key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The kind of section it stands in, such as `disks.<role>`; empty for the document.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub form: Form,
    /// What its absence means.
    pub absent: Absent,
    /// A value to imitate, as TOML.
    pub example: &'static str,
    /// What it means.
    pub about: &'static str,
}

const fn required(
    section: &'static str,
    name: &'static str,
    form: Form,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { section, name, form, absent: Absent::Required, example, about }
}

const fn optional(
    section: &'static str,
    name: &'static str,
    form: Form,
    default: &'static str,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { section, name, form, absent: Absent::Default(default), example, about }
}

/// The known keys of one kind of section.
pub fn of(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

use Form::{Boolean, Integer, Named, Size, Table, Tables, Text, TextMap, TextOrTable, Texts};

/// Every known key.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    required("", "schema", Integer, "1", "Version of this format."),
    required("", "host", Table, "", "Who the machine is."),
    required("", "disks", Named, "", "Every disk the installer may touch, by role."),
    required("", "os", Table, "", "What stands on the OS disk."),
    optional("", "pools", Named, "none", "", "btrfs RAID1 pools by name."),
    required("", "unlock", Table, "", "How the volumes are opened at boot."),
    optional("", "network", Table, "no bridge", "", "Bridges and the LAN."),
    optional("", "vms", Named, "none", "", "Virtual machines by name."),
    optional("", "nfs", Table, "none", "", "Directories exported over NFS."),
    optional("", "backups", Named, "none", "", "restic backups by name."),
    optional("", "notify", Table, "nobody is told", "", "Who is told when the machine wants somebody."),
    optional("", "health", Table, "all defaults", "", "From when on somebody is told how pools and disks wear."),
    optional("", "restore", Table, "nothing comes back", "", "What comes back from backups onto new pools, before anything uses them."),
    optional("", "secrets", Named, "none", "", "Secrets of the repository that programs read from files in memory, by name."),
    optional("", "flake", Table, "all defaults", "", "The repository the host is enrolled into."),
    optional("", "install", Table, "all defaults", "", "How the installation runs."),

    required("host", "id", Text, "\"3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21\"", "UUIDv4, written once; every derived identity comes from it."),
    required("host", "name", Text, "\"hypervisor\"", "Host name, an RFC 1123 label in lower case."),
    required("host", "platform", Text, "\"embedded\"", "`nixos` or `embedded`."),
    required("host", "state_version", Text, "\"26.05\"", "NixOS `system.stateVersion`."),
    optional("host", "timezone", Text, "\"UTC\"", "\"Europe/Brussels\"", "IANA time zone."),
    optional("host", "locale", Text, "\"C.UTF-8\"", "\"en_US.UTF-8\"", "Locale; UTF-8 only."),
    optional("host", "users", Named, "none", "", "Accounts to make, by name. `root` may stand here for its ssh keys."),
    optional("host.users.<name>", "ssh_keys", Texts, "none", "[\"ssh-ed25519 AAAA… me@laptop\"]", "Authorised OpenSSH public keys."),
    optional("host.users.<name>", "groups", Texts, "none", "[\"sudo\", \"libvirt\"]", "Supplementary groups. One that is left out later is taken back; one given by hand stays."),

    required("disks.<role>", "id", Text, "\"nvme-Samsung_SSD_970_EVO_500GB_S466NX0M701234A\"", "A name under `/dev/disk/by-id`, of a whole disk."),
    optional("disks.<role>", "expect_serial", Text, "any", "\"S466NX0M701234A\"", "The serial the disk must report."),
    optional("disks.<role>", "expect_size", Size, "any", "\"500GB\"", "The size the disk must have: whole GB or GiB allow 1 %, other sizes are exact."),
    optional("disks.<role>", "media", Text, "`ssd` when the id starts with `nvme-`, else `hdd`", "\"ssd\"", "`ssd` passes discards through LUKS, `hdd` does not."),
    optional("disks.<role>", "wipe", Text, "\"blank\"", "\"blank\"", "What may be destroyed: `blank` nothing, `ours` an unfinished installation of the same plan, `any` everything, `never` nothing, the pool is kept with its data."),

    optional("os", "disk", Text, "\"os\"", "\"os\"", "Role of the OS disk."),
    optional("os", "esp_size", Size, "\"1GiB\"", "\"1GiB\"", "Size of the EFI system partition, 64MiB to 32GiB."),
    optional("os", "esp_mirror", Text, "none", "\"vm1\"", "Role of a second disk with a copy of the EFI system partition: a pool's member or a disk of its own."),
    optional("os", "subvolumes", TextMap, "root, home, nix", "{ root = \"/\", home = \"/home\", nix = \"/nix\" }", "btrfs subvolume to mount point; must hold `/` and `/nix`."),

    required("pools.<name>", "mount", Text, "\"/mnt/bulk\"", "Absolute mount point."),
    optional("pools.<name>", "raid", Text, "\"raid1\"", "\"raid1\"", "Only `raid1`, for data and metadata."),
    required("pools.<name>", "disks", Texts, "[\"bulk1\", \"bulk2\"]", "Roles of the members, two at least."),
    optional("pools.<name>", "scrub", Text, "\"monthly\"", "\"monthly\"", "When everything is read, and repaired where one copy is wrong: a systemd calendar expression, or `never`."),

    optional("unlock", "timeout_seconds", Integer, "30", "30", "How long boot waits for a key stick before it asks, 1 to 3600."),
    optional("unlock", "keyfile", Text, "\"bedplate/keyfile\"", "\"bedplate/keyfile\"", "Path of the keyfile on the stick."),
    optional("unlock", "recovery", TextOrTable, "{ stick = \"bedplate/recovery\" }", "{ stick = \"bedplate/recovery\" }", "Where the recovery passphrase is kept: a file on the first stick, or `\"prompt\"`."),
    optional("unlock", "derivation", Text, "\"measured\"", "\"measured\"", "What a guess at the recovery passphrase costs: `measured`, about a second of this machine, or `minimal`, the least that LUKS2 accepts. The least is enough for a generated passphrase and makes tests quick; any other passphrase is measured all the same."),
    required("unlock", "sticks", Tables, "[{ volume_id = \"1A2B-3C4D\" }]", "Key sticks, one at least."),
    required("unlock.recovery", "stick", Text, "\"bedplate/recovery\"", "Path on the first stick; generated at install when absent."),
    required("unlock.sticks[]", "volume_id", Text, "\"1A2B-3C4D\"", "VFAT volume id."),
    optional("unlock.sticks[]", "id", Text, "none", "\"usb-SanDisk_Ultra_Fit_4C530001230101123456-0:0\"", "A name under `/dev/disk/by-id`; only with it may the installer format the stick."),

    optional("network", "lan_cidr", Text, "\"192.168.1.0/24\"", "\"192.168.1.0/24\"", "The LAN; the clients of exports that name none."),
    optional("network", "bridges", Named, "none", "", "Bridges by name."),
    optional("network.bridges.<name>", "nic", TextOrTable, "none: an isolated bridge", "\"enp5s0\"", "The physical NIC, by name or as `{ mac = \"…\" }`."),
    required("network.bridges.<name>.nic", "mac", Text, "\"04:42:1a:01:02:03\"", "MAC address of the NIC."),
    optional("network.bridges.<name>", "dhcp", Boolean, "true with a nic and no addresses", "true", "Whether the bridge asks for a lease."),
    optional("network.bridges.<name>", "addresses", Texts, "none", "[\"192.168.1.5/24\"]", "Static addresses with prefix."),
    optional("network.bridges.<name>", "gateway", Text, "none", "\"192.168.1.1\"", "Default gateway of static addresses, in the network of one. Outside only where the first address is a `/32` (IPv6: `/128`)."),
    optional("network.bridges.<name>", "dns", Texts, "none", "[\"192.168.1.1\"]", "Name servers of static addresses."),
    optional("network.bridges.<name>", "vlan_aware", Boolean, "false", "true", "Whether the bridge keeps VLANs apart; untagged frames are in VLAN 1."),
    optional("network.bridges.<name>", "nat", Boolean, "false", "true", "Whether guests on a bridge without `nic` get leases from dnsmasq and reach the LAN under the host's address. Wants one IPv4 address."),

    optional("vms.<name>", "state", Text, "\"present\"", "\"present\"", "`present`, or `absent`: stopped, undefined, its directory deleted."),
    optional("vms.<name>", "kind", Text, "\"generic\"", "\"haos\"", "`generic`, or `haos` for Home Assistant OS: 4096 MiB, 32 GiB and SCSI where nothing else is written, and never Secure Boot."),
    optional("vms.<name>", "pool", Text, "\"vmstore\"", "\"vmstore\"", "Pool whose `<mount>/<vm>/` holds the VM's files."),
    optional("vms.<name>", "vcpu", Integer, "2", "2", "Virtual processors, 1 to 512."),
    optional("vms.<name>", "ram_mb", Integer, "2048", "4096", "Memory in MiB, 64 to 16777216."),
    optional("vms.<name>", "mac_address", Text, "derived from host.id and the name", "\"52:54:00:12:34:56\"", "MAC address."),
    optional("vms.<name>", "disk_gb", Integer, "the image's size", "32", "Wanted size of the disk in GiB; only ever enlarged, while the machine runs too. Required with iso_image."),
    optional("vms.<name>", "disk_image", Table, "none", "", "A disk image to start from."),
    optional("vms.<name>", "iso_image", Table, "none", "", "An installer ISO, with an empty disk. Not together with disk_image."),
    optional("vms.<name>", "usb_devices", Tables, "none", "[{ vendor_id = \"0x1a86\", product_id = \"0x7523\" }]", "USB devices handed through."),
    optional("vms.<name>", "bridge", Text, "\"br0\"", "\"br0\"", "Bridge of the VM's NIC."),
    optional("vms.<name>", "vlan", Integer, "that of untagged frames", "20", "The VLAN its NIC is in, 1 to 4094; its bridge is `vlan_aware`."),
    optional("vms.<name>", "firmware", Text, "\"uefi\"", "\"uefi\"", "`uefi`, `uefi-secure-boot` (with Microsoft's keys) or `bios`."),
    optional("vms.<name>", "disk_bus", Text, "\"virtio\"", "\"sata\"", "`virtio`, `scsi` (virtio-scsi), or `sata` for guests without virtio drivers."),
    optional("vms.<name>", "tpm", Boolean, "false", "true", "Whether it has a TPM 2.0."),
    optional("vms.<name>", "guest_agent", Boolean, "true", "false", "Whether it has the channel of the QEMU guest agent."),
    optional("vms.<name>", "autostart", Boolean, "true", "true", "Whether it starts at boot."),
    optional("vms.<name>", "start_order", Integer, "after all that have one", "1", "Its place among those that start at boot, 1 to 1000."),
    optional("vms.<name>", "cloud_init", Table, "none", "{ ssh_keys = [\"ssh-ed25519 AAAA… me@laptop\"] }", "What a cloud image is told at its first start."),
    optional("vms.<name>.cloud_init", "hostname", Text, "the VM's name", "\"apps\"", "Host name of the guest."),
    optional("vms.<name>.cloud_init", "user", Text, "\"admin\"", "\"admin\"", "The account that is made, with sudo and without a password."),
    optional("vms.<name>.cloud_init", "ssh_keys", Texts, "none", "[\"ssh-ed25519 AAAA… me@laptop\"]", "Who may log in to it; one at least."),
    optional("vms.<name>.cloud_init", "packages", Texts, "none", "[\"qemu-guest-agent\"]", "Packages that are installed."),
    required("vms.<name>.disk_image", "url", Text, "\"https://example.org/image.qcow2.xz\"", "`http://` or `https://` address."),
    required("vms.<name>.disk_image", "sha256", Text, "\"<64 hexadecimal digits>\"", "SHA-256 of the bytes downloaded."),
    optional("vms.<name>.disk_image", "dest", Text, "\"<mount>/<vm>/<vm>.qcow2\"", "\"/mnt/vmstore/haos/haos.qcow2\"", "Final path, inside the VM's directory."),
    required("vms.<name>.iso_image", "url", Text, "\"https://example.org/installer.iso\"", "`http://` or `https://` address."),
    required("vms.<name>.iso_image", "sha256", Text, "\"<64 hexadecimal digits>\"", "SHA-256 of the bytes downloaded."),
    optional("vms.<name>.iso_image", "dest", Text, "\"<mount>/<vm>/installer.iso\"", "\"/mnt/vmstore/testvm/installer.iso\"", "Final path, inside the VM's directory."),
    required("vms.<name>.usb_devices[]", "vendor_id", Text, "\"0x1a86\"", "USB vendor id."),
    required("vms.<name>.usb_devices[]", "product_id", Text, "\"0x7523\"", "USB product id."),
    optional("vms.<name>.usb_devices[]", "serial", Text, "none", "\"A50285BI\"", "Its serial number, which tells it from another of its kind."),
    optional("vms.<name>.usb_devices[]", "port", Text, "none", "\"1-1.4\"", "Where it is plugged in (`/sys/bus/usb/devices`), for one without a serial number of its own."),

    optional("nfs", "v3", Boolean, "false", "true", "Whether clients may speak NFS 3 too, which needs more ports."),
    optional("nfs", "exports", Tables, "none", "", "Exported directories."),
    required("nfs.exports[]", "path", Text, "\"/mnt/bulk/apps-vm\"", "Directory inside the mount of a pool."),
    optional("nfs.exports[]", "clients", Texts, "network.lan_cidr", "[\"192.168.1.0/24\"]", "Networks that may mount it; never everyone."),
    optional("nfs.exports[]", "options", Texts, "rw, sync, no_subtree_check", "[\"rw\", \"no_subtree_check\"]", "Options of exports(5)."),

    required("backups.<name>", "repository", Text, "\"/mnt/vmstore/backups/apps\"", "restic repository: a directory inside a pool, or `rest:https://…`, `sftp:user@host:/path`, `s3:https://host/bucket`."),
    required("backups.<name>", "paths", Texts, "[\"/mnt/bulk/apps-vm\"]", "Directories to back up, inside pools."),
    optional("backups.<name>", "schedule", Text, "\"daily\"", "\"daily\"", "systemd calendar expression."),
    optional("backups.<name>", "keep", Table, "daily 7, weekly 4, monthly 6", "{ daily = 7, weekly = 4, monthly = 6 }", "Snapshots kept."),
    required("backups.<name>", "password", Table, "{ stick = \"bedplate/restic-apps\" }", "Where the repository's password comes from."),
    optional("backups.<name>", "credentials", Table, "none", "{ stick = \"bedplate/rest-apps\" }", "What the repository's server wants besides: `name:password` of a rest-server, `id:secret` of S3, a private ssh key for `sftp:`."),
    optional("backups.<name>", "host_key", Text, "none", "\"ssh-ed25519 AAAA…\"", "Public ssh key of the machine that an `sftp:` repository is on. Required with `sftp:`."),
    optional("backups.<name>", "prune", Text, "\"weekly\"", "\"weekly\"", "When data that no snapshot holds is deleted: a calendar expression, or `never`."),
    optional("backups.<name>", "check", Text, "\"weekly\"", "\"weekly\"", "When the repository's structure is checked, or `never`."),
    optional("backups.<name>", "check_data", Text, "\"monthly\"", "\"monthly\"", "When all of its data is read and checked, or `never`."),
    optional("backups.<name>", "drill", Text, "\"monthly\"", "\"monthly\"", "When it is restored beside the data and compared with what was backed up, or `never`."),
    optional("backups.<name>", "stale_after_hours", Integer, "from the schedule: about two of its periods", "50", "Age from which the newest backup is too old, 1 to 10000."),
    optional("backups.<name>.keep", "daily", Integer, "7", "7", "Daily snapshots, 0 to 10000."),
    optional("backups.<name>.keep", "weekly", Integer, "4", "4", "Weekly snapshots, 0 to 10000."),
    optional("backups.<name>.keep", "monthly", Integer, "6", "6", "Monthly snapshots, 0 to 10000."),
    optional("backups.<name>.password", "stick", Text, "none", "\"bedplate/restic-apps\"", "Path on the first stick; generated at install when absent. One of `stick`, `prompt`, `sops`, `age` is required."),
    optional("backups.<name>.password", "prompt", Text, "none", "\"bedplate/restic-apps\"", "Path on the key sticks. When no stick has it, somebody is asked: by `bedplate key create`, or by the installer at its console. For a repository that exists already."),
    optional("backups.<name>.password", "sops", Text, "none", "\"secrets.yaml\"", "A YAML file of sops, relative to the host's directory in the repository."),
    optional("backups.<name>.password", "key", Text, "none", "\"restic/apps\"", "Where in the sops file: names between `/`. Required with sops."),
    optional("backups.<name>.password", "age", Text, "none", "\"restic-apps.age\"", "A file of age, relative to the host's directory in the repository."),

    optional("backups.<name>.password", "file", Text, "none", "\"/var/lib/bedplate/password\"", "Always refused: a file on the machine is lost with the machine."),
    optional("backups.<name>.credentials", "stick", Text, "none", "\"bedplate/rest-apps\"", "Path on the key sticks; put there by hand. One of `stick`, `prompt`, `sops`, `age` is required."),
    optional("backups.<name>.credentials", "prompt", Text, "none", "\"bedplate/s3-apps\"", "Path on the key sticks. When no stick has it, somebody is asked: by `bedplate key create`, or by the installer at its console. For what fits on a line."),
    optional("backups.<name>.credentials", "sops", Text, "none", "\"secrets.yaml\"", "A YAML file of sops, relative to the host's directory in the repository."),
    optional("backups.<name>.credentials", "key", Text, "none", "\"restic/rest\"", "Where in the sops file: names between `/`. Required with sops."),
    optional("backups.<name>.credentials", "age", Text, "none", "\"rest-apps.age\"", "A file of age, relative to the host's directory in the repository."),

    optional("notify", "url", Text, "none", "\"https://ntfy.sh/my-hypervisor\"", "Address that messages are posted to: a topic of ntfy or a webhook. It can be read by everybody on the machine. One of `url`, `mail` is required."),
    optional("notify", "receiver", Text, "\"ntfy\"", "\"webhook\"", "What the address takes: `ntfy`, text with headers, or `webhook`, a JSON object."),
    optional("notify", "mail", Text, "none", "\"me@example.org\"", "Address that mail is sent to, through the machine's `sendmail`."),
    optional("notify", "remind_hours", Integer, "24", "24", "After how many hours a condition that lasts is told again, 0 for never."),
    optional("notify", "ping", Text, "none", "\"https://hc-ping.com/3f0c7a52\"", "Address that is fetched every time all was looked at and told; a service there tells of silence."),
    optional("notify", "token", Table, "none", "{ file = \"/var/lib/bedplate/notify-token\" }", "Where the token stands that the address wants, sent as `Authorization: Bearer`."),
    optional("notify.token", "file", Text, "none", "\"/var/lib/bedplate/notify-token\"", "A file on the machine that only root can read; outside the Nix store. One of `file`, `sops`, `age` is required."),
    optional("notify.token", "sops", Text, "none", "\"secrets.yaml\"", "A YAML file of sops, relative to the host's directory in the repository."),
    optional("notify.token", "key", Text, "none", "\"notify\"", "Where in the sops file: names between `/`. Required with sops."),
    optional("notify.token", "age", Text, "none", "\"notify.age\"", "A file of age, relative to the host's directory in the repository."),
    optional("health", "fill", Integer, "90", "90", "How full a pool may be, in percent of what it can hold, data or metadata, 50 to 99."),
    optional("health", "smart", Boolean, "true", "true", "Whether the disks are asked how they are (SMART), where they answer."),
    optional("health", "sectors", Integer, "0", "8", "How many sectors of a disk may have been replaced or be unreadable before it is told of."),
    optional("health", "worn", Integer, "90", "90", "From when on a disk is told of, in percent of what it was made to have written to it, 1 to 255."),
    optional("health", "celsius", Integer, "60", "60", "From when on a disk is told of, in degrees Celsius, 30 to 120."),

    required("restore", "backups", Texts, "[\"apps\"]", "Names of backups; all their paths come back at the first boot, each only where nothing is."),
    optional("restore", "snapshot", Text, "\"latest\"", "\"4bba301e\"", "The snapshot, only with a single backup; the newest of this host otherwise."),
    optional("secrets.<name>", "sops", Text, "none", "\"secrets.yaml\"", "A YAML file of sops, relative to the host's directory in the repository. One of `sops`, `age` is required; the secret is then in `/run/bedplate/secrets/<name>`."),
    optional("secrets.<name>", "key", Text, "none", "\"wireguard/private\"", "Where in the sops file: names between `/`. Required with sops."),
    optional("secrets.<name>", "age", Text, "none", "\"wireguard.age\"", "A file of age, relative to the host's directory in the repository."),
    optional("secrets.<name>", "owner", Text, "\"root\"", "\"libvirt-qemu\"", "The user who may read the file, and nobody else: mode 0400."),
    optional("secrets.<name>", "group", Text, "none", "\"kvm\"", "A group that may read it too: mode 0440."),

    optional("flake", "remote", Text, "none", "\"git@git.example.org:me/infra.git\"", "`origin` of the clone left in /etc/nixos."),
    optional("flake", "hosts", Text, "\"nix/hosts\"", "\"nix/hosts\"", "Directory of the hosts inside the repository."),
    optional("flake", "source", Table, "comes with the medium", "", "Where the installer takes the repository from, before it writes to any disk."),
    optional("flake", "push", Table, "nothing is pushed", "", "How the installer pushes its commit, to the branch `bedplate/<name>` of the remote."),
    optional("flake.source", "branch", Text, "\"main\"", "\"main\"", "The branch that is cloned."),
    optional("flake.source", "volume", Table, "none", "{ label = \"INFRA\" }", "A volume of the machine, such as a second stick. One of `volume`, `ssh`, `https` is required."),
    optional("flake.source", "ssh", Table, "none", "", "A repository behind an ssh server."),
    optional("flake.source", "https", Table, "none", "", "A repository behind an https server, which everybody may read."),
    required("flake.source.volume", "label", Text, "\"INFRA\"", "Label of the file system. One volume must have it, and only one; it is mounted read-only."),
    optional("flake.source.volume", "path", Text, "the volume itself", "\"infra.bundle\"", "A git repository or a git bundle on the volume."),
    required("flake.source.ssh", "url", Text, "\"git@git.example.org:me/infra.git\"", "`user@host:path` or `ssh://user@host/path`."),
    required("flake.source.ssh", "key", Table, "{ stick = \"bedplate/deploy-key\" }", "Where the private ssh key is that may read it."),
    required("flake.source.ssh", "host_key", Text, "\"ssh-ed25519 AAAA…\"", "The only host key that the server may show: kind and key, as in a `.pub` file."),
    required("flake.source.ssh.key", "stick", Text, "\"bedplate/deploy-key\"", "Path on a key stick; it is never generated."),
    required("flake.source.https", "url", Text, "\"https://git.example.org/me/infra.git\"", "`https://` address without a name or password."),
    required("flake.source.https", "pinned_key", Text, "\"sha256//<base64>\"", "The only public key that the server may show, as curl pins it."),
    optional("flake.source.https", "certificate", Text, "the public authorities", "\"\"\"-----BEGIN CERTIFICATE-----…\"\"\"", "The one certificate, as PEM, that is trusted to sign the server's, or the server's own."),
    required("flake.push", "key", Table, "{ stick = \"bedplate/push-key\" }", "Where the private ssh key is that may push."),
    required("flake.push", "host_key", Text, "\"ssh-ed25519 AAAA…\"", "The only host key that the remote may show: kind and key, as in a `.pub` file."),
    required("flake.push.key", "stick", Text, "\"bedplate/push-key\"", "Path on a key stick; it is never generated. While it is installed the machine opens nothing of the repository."),

    optional("install", "unattended", Boolean, "false", "true", "Whether the installer goes ahead without asking."),
    optional("install", "expect_plan", Text, "any", "\"<64 hexadecimal digits>\"", "The only plan hash that may be executed."),
    optional("install", "then", Text, "\"reboot\"", "\"poweroff\"", "`reboot`, `poweroff` or `wait`."),
];
