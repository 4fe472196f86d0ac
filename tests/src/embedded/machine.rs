//! What a machine mounts, unlocks and exports, in one form for whoever says it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bedplate_model::host::{HostFile, Nic};
use bedplate_model::name::GuestName;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;

/// Who opens the volume of the OS disk, as [`Volume::opened_by`] and [`Machine::keys`] name it; every
/// other volume is opened by its pool.
pub const STAGE_1: &str = "stage 1";

/// What a machine will be like once it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The `host.id` of its `host.toml`.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// By mount point.
    pub mounts: BTreeMap<String, Source>,
    /// What is unlocked, by role.
    pub volumes: BTreeMap<String, Volume>,
    /// With what, by who opens: [`STAGE_1`] or the name of a pool.
    pub keys: BTreeMap<String, Keys>,
    /// By path.
    pub exports: BTreeMap<String, Export>,
    /// The server of the exports.
    pub nfs: Server,
    /// By name.
    pub bridges: BTreeMap<String, Bridge>,
    /// Virtual machines by name, each with everything that is known of it.
    pub vms: BTreeMap<String, Value>,
}

/// What stands at a mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A subvolume of the btrfs on one opened volume.
    Subvolume {
        /// Name under `/dev/mapper`.
        mapper: String,
        /// Its name.
        name: String,
    },
    /// The VFAT on a partition.
    Esp {
        /// Its unique GUID.
        partition: Uuid,
    },
    /// The btrfs over several opened volumes.
    Pool {
        /// File system id.
        file_system: Uuid,
        /// Names under `/dev/mapper`.
        members: BTreeSet<String>,
    },
    /// Something that no plan asks for.
    Other {
        /// The line that says so.
        line: String,
    },
}

/// A LUKS volume that is unlocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// By which it is found: the UUID of its header.
    pub uuid: Uuid,
    /// Its name under `/dev/mapper`.
    pub mapper: String,
    /// Whether discards pass through.
    pub discard: bool,
    /// [`STAGE_1`], or the name of a pool.
    pub opened_by: String,
}

/// With what volumes are unlocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// VFAT volume ids of the key sticks.
    pub sticks: BTreeSet<String>,
    /// Path of the keyfile on each.
    pub keyfile: String,
    /// How long a stick is waited for, in seconds.
    pub timeout_seconds: u32,
}

/// A directory that is exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// The mount point without which it is not exported.
    pub only_with: String,
    /// Its options, by client.
    pub clients: BTreeMap<String, BTreeSet<String>>,
}

/// The NFS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Whether it speaks version 3 too.
    pub v3: bool,
    /// Networks that reach its ports.
    pub reached_by: BTreeSet<String>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Bridge {
    /// The NICs on it, by name or MAC address.
    pub nics: BTreeSet<String>,
    /// Whether it asks for a lease.
    pub dhcp: bool,
    /// Its own addresses, with prefix.
    pub addresses: BTreeSet<String>,
    /// Default gateways.
    pub gateways: BTreeSet<String>,
    /// Name servers.
    pub dns: BTreeSet<String>,
    /// Whether it keeps VLANs apart.
    pub vlan_aware: bool,
    /// Whether it hides guests behind the host's address.
    pub nat: bool,
}

impl Keys {
    /// What a document says of them.
    pub fn of(host: &HostFile) -> Self {
        Self {
            sticks: host.unlock.sticks.iter().map(|stick| stick.volume_id.clone()).collect(),
            keyfile: host.unlock.keyfile.clone(),
            timeout_seconds: host.unlock.timeout_seconds,
        }
    }
}

impl Bridge {
    /// What a document says of one.
    pub fn of(bridge: &bedplate_model::host::Bridge) -> Self {
        let nic = |nic: &Nic| match nic {
            Nic::Name(name) => name.clone(),
            Nic::Mac(mac) => mac.to_string(),
        };
        Self {
            nics: bridge.nic.iter().map(nic).collect(),
            dhcp: bridge.dhcp,
            addresses: bridge.addresses.iter().cloned().collect(),
            gateways: bridge.gateway.iter().map(ToString::to_string).collect(),
            dns: bridge.dns.iter().map(ToString::to_string).collect(),
            vlan_aware: bridge.vlan_aware,
            nat: bridge.nat,
        }
    }
}

/// The machines of a document.
pub fn vms(host: &HostFile) -> Result<BTreeMap<String, Value>, Failure> {
    let one = |(name, vm): (&GuestName, _)| Ok((name.to_string(), json(vm)?));
    host.vms.iter().map(one).collect()
}

/// In what two machines differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `mounts./boot.esp.partition`.
    pub place: String,
    /// What was planned.
    pub planned: Option<String>,
    /// What was built.
    pub built: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        let (planned, built) = (shown(&self.planned), shown(&self.built));
        write!(formatter, "{}: planned {planned}, built {built}", self.place)
    }
}

/// Everything in which what was built is not what was planned.
pub fn differences(planned: &Machine, built: &Machine) -> Result<Vec<Difference>, Failure> {
    let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &json(planned)?, &mut wanted);
    flatten("", &json(built)?, &mut found);
    let places: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let one = |place: &String| Difference {
        place: place.clone(),
        planned: wanted.get(place).cloned(),
        built: found.get(place).cloned(),
    };
    Ok(places.into_iter().map(one).filter(|one| one.planned != one.built).collect())
}

fn json(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::Unfit(error.to_string()))
}

/// One line for each value; what is empty has none.
fn flatten(place: &str, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                flatten(&place, value, lines);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        _ => _ = lines.insert(place.to_owned(), value.to_string()),
    }
}
