//! The validated form of `host.toml`.
//!
//! Values of these types exist only after validation: every name is safe in a path, an
//! argv, XML and Nix, and every reference between sections resolves. They serialise to
//! JSON so that the host service and the tests can read a normalised document.

mod address;
mod backup;
mod flake;
mod guest;
mod health;
mod notify;
mod secret;
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::{ByIdName, GuestName, Mac, PlanHash, PoolName, Role};

pub use address::{PlacedAddress, is_link_local};
pub use backup::{Backup, Keep, Restore, Upkeep};
pub use flake::{Flake, HttpsSource, Push, Source, SourcePlace, SshSource, VolumeSource};
pub use guest::{Guest, GuestNic, GuestSection, State};
pub use health::Health;
pub use notify::{Notify, REMIND_HOURS, Receiver};
pub use secret::{SecretFile, SecretReference};
pub use vm::{CloudInit, DiskBus, Download, Firmware, UsbDevice, Vm, VmKind, VmNic};

/// The schema number this version reads and writes (`schema = 1`).
pub const SCHEMA: u32 = 1;

/// A whole `host.toml`, validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    /// The document's schema, always [`SCHEMA`].
    pub schema: u32,
    /// `[host]`: who the machine is.
    pub host: Host,
    /// `[disks.<role>]`: every disk the installer may touch, by role.
    pub disks: BTreeMap<Role, Disk>,
    /// `[os]`: what stands on the OS disk.
    pub os: Os,
    /// `[pools.<name>]`: btrfs RAID1 pools.
    pub pools: BTreeMap<PoolName, Pool>,
    /// `[unlock]`: how the volumes are opened at boot.
    pub unlock: Unlock,
    /// `[network]`: bridges and the LAN.
    pub network: Network,
    /// `[vms.<name>]`: virtual machines.
    pub vms: BTreeMap<GuestName, Vm>,
    /// `[nfs]`: exported directories.
    pub nfs: Nfs,
    /// `[backups.<name>]`: restic backups.
    pub backups: BTreeMap<String, Backup>,
    /// `[notify]`: who is told when the machine wants somebody; nobody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// `[health]`: from when on somebody is told how pools and disks wear.
    #[serde(default, skip_serializing_if = "Health::is_default")]
    pub health: Health,
    /// `[restore]`: what comes back from backups onto new pools; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// `[secrets.<name>]`: secrets of the repository that programs of the machine read from files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretFile>,
    /// `[flake]`: the repository the host is enrolled into.
    pub flake: Flake,
    /// `[install]`: how the installation itself runs.
    pub install: Install,
}

/// Section `[host]` of `host.toml`: who the machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// UUIDv4, written once; every derived identity comes from it.
    pub id: Uuid,
    /// Host name (RFC 1123 label, at most 63 characters).
    pub name: String,
    /// Which platform builds the system.
    pub platform: Platform,
    /// NixOS `system.stateVersion`, such as `26.05`.
    pub state_version: String,
    /// IANA time zone, such as `Europe/Brussels`.
    pub timezone: String,
    /// Locale, such as `en_US.UTF-8`.
    pub locale: String,
    /// Accounts that are made, by name. `root` may stand here for its ssh keys.
    pub users: BTreeMap<String, User>,
}

/// Which platform builds the system of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// NixOS from nixpkgs.
    Nixos,
    /// Bedplate's own platform: a Debian tree in one store path.
    Embedded,
}

impl Platform {
    /// As `host.toml` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nixos => "nixos",
            Self::Embedded => "embedded",
        }
    }
}

/// Section `[host.users.<name>]` of `host.toml`: an account, and the keys that open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Authorised ssh keys, one OpenSSH public key line each.
    pub ssh_keys: Vec<String>,
    /// Supplementary groups, for example `libvirt`.
    pub groups: Vec<String>,
}

/// `[disks.<role>]`: one disk the installer may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// A name under `/dev/disk/by-id` (no slash).
    pub id: ByIdName,
    /// The serial the disk must report, when given.
    pub expect_serial: Option<String>,
    /// The size the disk must have, in bytes, when given.
    pub expect_size: Option<u64>,
    /// Decides whether discards pass through LUKS.
    pub media: Media,
    /// What may be destroyed.
    pub wipe: Wipe,
}

/// The kind of medium of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// Flash: discards are passed through.
    Ssd,
    /// Rotating: no discards.
    Hdd,
}

/// What the installer may destroy on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wipe {
    /// Nothing: the disk must already be ours and sealed; it is unlocked and mounted.
    Never,
    /// Nothing: the disk must carry no signature at all.
    Blank,
    /// An unsealed installation of this same plan hash is finished; otherwise as `blank`.
    Ours,
    /// Anything. Listed at the top of the plan.
    Any,
}

/// Section `[os]` of `host.toml`: the OS disk and what is made on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// Role of the OS disk.
    pub disk: Role,
    /// Size of the EFI system partition, in bytes.
    pub esp_size: u64,
    /// Role of a second disk that carries a copy of the EFI system partition: a disk of its own
    /// or a member of a pool.
    pub esp_mirror: Option<Role>,
    /// btrfs subvolume name to mount point: `root` -> `/`, `home` -> `/home`, `nix` -> `/nix`.
    pub subvolumes: BTreeMap<String, String>,
}

/// `[pools.<name>]`: LUKS2 on every member, btrfs RAID1 (data and metadata) over them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// Absolute mount point.
    pub mount: String,
    /// Roles of the members, in the order written.
    pub disks: Vec<Role>,
    /// When everything is read and repaired: a systemd calendar expression, or never.
    #[serde(default = "monthly", skip_serializing_if = "is_monthly")]
    pub scrub: Option<String>,
}

/// A file system that pools can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystem {
    /// btrfs over all members.
    #[default]
    Btrfs,
}

impl FileSystem {
    /// Its name for mount(8) and in `/proc/self/mountinfo`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
        }
    }

    /// Whether it is the one that a pool has when nobody says otherwise.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Pool {
    /// The file system that it has.
    pub fn file_system(&self) -> FileSystem {
        FileSystem::Btrfs
    }
}

/// How often a pool is scrubbed when nobody says otherwise.
pub fn monthly() -> Option<String> {
    Some("monthly".to_owned())
}

fn is_monthly(schedule: &Option<String>) -> bool {
    *schedule == monthly()
}

impl HostFile {
    /// The normalised document: every default written out, keys sorted.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Reads what [`HostFile::to_json`] wrote. Nothing is validated again.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Every secret that lies encrypted in the repository, with its key in `host.toml`.
    pub fn repository_secrets(&self) -> Vec<(String, &SecretReference)> {
        let backups = self.backups.iter().flat_map(|(name, backup)| {
            backup.secrets().map(move |(what, secret)| (format!("backups.{name}.{what}"), secret))
        });
        let token = self.notify.as_ref().and_then(|notify| notify.token.as_ref());
        let files = self.secrets.iter();
        let files = files.map(|(name, file)| (format!("secrets.{name}"), &file.source));
        let token = token.map(|token| ("notify.token".to_owned(), token));
        let all = backups.chain(token).chain(files);
        all.filter(|(_, reference)| {
            matches!(reference, SecretReference::Sops { .. } | SecretReference::Age(_))
        })
        .collect()
    }

    /// Paths of the generated secrets that a key stick carries beside the keys, sorted.
    pub fn stick_secrets(&self) -> Vec<String> {
        let of = |backup: &Backup| match &backup.password {
            SecretReference::Stick(path) => Some(path.clone()),
            _ => None,
        };
        self.backups.values().filter_map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The secrets that somebody types and a key stick then carries: what each is for, by its path.
    pub fn typed_secrets(&self) -> BTreeMap<String, String> {
        let mut typed = BTreeMap::new();
        for (name, backup) in &self.backups {
            for (what, reference) in backup.secrets() {
                if let SecretReference::Prompt(path) = reference {
                    typed.entry(path.clone()).or_insert(format!("{what} of the backup {name}"));
                }
            }
        }
        typed
    }
}

/// Section `[unlock]` of `host.toml`: what opens the encrypted disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock {
    /// How long boot waits for a key stick before it asks for the passphrase, in seconds.
    pub timeout_seconds: u32,
    /// Path of the keyfile on the stick, relative to its root.
    pub keyfile: String,
    /// Where the recovery passphrase is kept.
    pub recovery: Recovery,
    /// What deriving a key from the recovery passphrase costs.
    #[serde(default, skip_serializing_if = "Derivation::is_measured")]
    pub derivation: Derivation,
    /// Key sticks; at least one.
    pub sticks: Vec<Stick>,
}

/// What deriving a key from the recovery passphrase costs whoever guesses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivation {
    /// About a second of the machine it is installed on.
    #[default]
    Measured,
    /// The least that LUKS2 accepts: only for a generated passphrase, which nobody guesses.
    Minimal,
}

impl Derivation {
    /// Whether it is what a document that says nothing gets.
    pub fn is_measured(&self) -> bool {
        *self == Self::Measured
    }
}

/// Where the recovery passphrase is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Generated, written to this path on the first key stick.
    Stick(String),
    /// Asked for during the installation.
    Prompt,
}

/// One of `[[unlock.sticks]]` in `host.toml`: a USB stick that carries the keyfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stick {
    /// VFAT volume id in upper-case hexadecimal, such as `1A2B-3C4D`.
    pub volume_id: String,
    /// by-id name. Only with it may the installer format the stick.
    pub id: Option<ByIdName>,
}

/// Section `[network]` of `host.toml`: the LAN, and the bridges of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The LAN, default clients of NFS exports.
    pub lan_cidr: Cidr,
    /// Bridges by name, each from its section `[network.bridges.<name>]`.
    pub bridges: BTreeMap<String, Bridge>,
}

/// An IP network in CIDR form; host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// Network address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| format!("`{text}` has no prefix length"))?;
        let address: IpAddr =
            address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
        let prefix: u8 =
            prefix.parse().map_err(|_| format!("`{prefix}` is not a prefix length"))?;
        let limit = if address.is_ipv4() { 32 } else { 128 };
        if prefix > limit {
            return Err(format!("prefix length {prefix} is above {limit}"));
        }
        let host_bits_are_zero = match address {
            IpAddr::V4(v4) => u32::from(v4).checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
            IpAddr::V6(v6) => u128::from(v6).checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
        };
        if !host_bits_are_zero {
            return Err(format!("`{text}` has host bits set"));
        }
        Ok(Self { address, prefix })
    }
}

/// Section `[network.bridges.<name>]` of `host.toml`: a bridge and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The physical NIC; none makes an isolated bridge.
    pub nic: Option<Nic>,
    /// Whether the bridge asks for a lease.
    pub dhcp: bool,
    /// Static addresses with prefix, such as `192.168.1.5/24`.
    pub addresses: Vec<String>,
    /// Default gateway for static addresses.
    pub gateway: Option<IpAddr>,
    /// Name servers for static addresses.
    pub dns: Vec<IpAddr>,
    /// Whether the bridge keeps VLANs apart; untagged frames are in VLAN 1.
    #[serde(default, skip_serializing_if = "is_off")]
    pub vlan_aware: bool,
    /// Whether guests on an isolated bridge get leases and reach the LAN and what is behind it
    /// under the host's address.
    #[serde(default, skip_serializing_if = "is_off")]
    pub nat: bool,
}

/// A switch that stands as in a document that says nothing of it.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// How a NIC is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nic {
    /// By interface name, such as `enp5s0`.
    Name(String),
    /// By MAC address, lower case with colons.
    Mac(Mac),
}

/// Section `[nfs]` of `host.toml`: what the machine exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nfs {
    /// Whether clients may speak version 3 too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub v3: bool,
    /// Exports in the order written, each from one of `[[nfs.exports]]`.
    pub exports: Vec<Export>,
}

/// One of `[[nfs.exports]]` in `host.toml`: a directory, and who may mount it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Directory to export, inside the mount of a pool.
    pub path: String,
    /// The pool whose mount the path is in (found by validation).
    pub pool: PoolName,
    /// Clients; `lan_cidr` when the document names none.
    pub clients: Vec<Cidr>,
    /// Export options of exports(5), such as `rw`, `no_subtree_check`.
    pub options: Vec<String>,
}

/// Section `[install]` of `host.toml`: how the installation itself runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Whether the installer goes ahead without asking.
    pub unattended: bool,
    /// The only plan hash that may be executed, when given (64 hexadecimal digits).
    pub expect_plan: Option<PlanHash>,
    /// What happens after a successful installation.
    pub then: Then,
}

/// What happens after a successful installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Reboot into the installed system.
    Reboot,
    /// Power off.
    Poweroff,
    /// Stay in the live system.
    Wait,
}
