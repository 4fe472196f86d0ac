//! Bridges: systemd-networkd files and what became of them.
//!
//! A change of what leads outside could cut its owner off: it is tried with a timer armed that
//! takes it back, and kept when somebody outside was heard.

mod applied;
mod diff;
mod files;
mod hardware;
mod heard;
mod leases;
mod proof;
mod rollback;
mod vlans;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use bedplate_events::Outcome;
use bedplate_model::host::{Bridge, HostFile, Nic};
use bedplate_tools::command::CommandError;
use bedplate_tools::ip::{self, IpError};
use bedplate_tools::{programs, systemctl};

use crate::lab;
use bedplate_engine::{StepFailure, StepReporter};
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Description, Kind, Resource};
use bedplate_tools::atomic::{self, WriteError};
use bedplate_tools::digest;

pub use applied::ApplyError;
pub use files::{files, is_awaited};
pub use rollback::{Record, RollbackError, begin, take_back, try_again};

use files::{DIRECTORY, PREFIX};

/// How long a lease may take, and an answer from outside.
const LEASE: Duration = Duration::from_secs(60);

/// What was found of bridges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Our files, by path under `/etc`.
    pub files: BTreeMap<String, String>,
    /// Hash of the files networkd last read at our request since boot.
    pub applied: Option<String>,
    /// Bridges that stand.
    pub bridges: BTreeMap<String, ObservedBridge>,
    /// What was proven to lead outside; none before anything was.
    pub record: Option<Record>,
    /// Why that is not known.
    pub record_trouble: Option<String>,
    /// Units that give leases, by bridge, and whether each runs.
    pub leases: BTreeMap<String, (String, bool)>,
    /// Where dnsmasq is.
    pub dnsmasq: Option<PathBuf>,
    /// The bridge of the lab, when there is one.
    pub lab: Option<String>,
    /// Why that is not known.
    pub lab_trouble: Option<String>,
}

/// A bridge that stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedBridge {
    /// Its ports.
    pub ports: Vec<Port>,
    /// Addresses with prefix, link-local ones left out.
    pub addresses: Vec<String>,
    /// Whether it keeps VLANs apart; none when the kernel does not say.
    pub vlan_aware: Option<bool>,
}

/// An interface that stands on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface, such as `enp5s0`.
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Whether it is a NIC, or made of NICs: those of guests and containers are made by somebody here.
    pub is_hardware: bool,
}

impl ObservedBridge {
    /// The name of the port that a NIC is.
    pub fn port(&self, nic: &Nic) -> Option<&str> {
        let is = |port: &&Port| match nic {
            Nic::Name(name) => port.name == *name,
            Nic::Mac(mac) => port.mac == *mac,
        };
        self.ports.iter().find(is).map(|port| port.name.as_str())
    }

    /// The ports of guests and containers.
    pub fn guests(&self) -> impl Iterator<Item = &str> {
        self.ports.iter().filter(|port| !port.is_hardware).map(|port| port.name.as_str())
    }

    /// Whether it is known to do otherwise about VLANs than is `wanted`.
    pub fn vlans_differ(&self, wanted: bool) -> bool {
        self.vlan_aware.is_some_and(|found| found != wanted)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Arm the timer that takes back what is tried now.
    Arm {
        /// Hash of the files that are tried.
        trying: String,
    },
    /// Write a file of ours.
    WriteFile {
        /// Path under `/etc`.
        path: String,
        /// The whole text that the file is to have.
        content: String,
    },
    /// Remove a file of ours.
    RemoveFile {
        /// Path under `/etc`.
        path: String,
    },
    /// Take away a bridge that is no longer declared.
    RemoveBridge {
        /// Name of the bridge, which `host.toml` declares no more.
        bridge: String,
    },
    /// Let networkd read its files.
    Reload,
    /// Wait until the bridge stands and has its addresses.
    Await {
        /// Name of the bridge, and of its interface.
        bridge: String,
    },
    /// Wait until every bridge that leads outside stands and somebody there was heard, and keep
    /// its files; otherwise take them back.
    Prove,
    /// Take back what was tried before.
    TakeBack,
    /// Give leases on a bridge.
    Lease {
        /// Name of the bridge whose guests get leases.
        bridge: String,
        /// The unit.
        unit: String,
    },
    /// Give no more leases on a bridge.
    StopLeases {
        /// Name of the bridge whose guests have got leases until now.
        bridge: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arm { .. } => formatter.write_str("arm a timer that takes the change back"),
            Self::WriteFile { path, .. } => write!(formatter, "write /etc/{path}"),
            Self::RemoveFile { path } => write!(formatter, "remove /etc/{path}"),
            Self::RemoveBridge { bridge } => write!(formatter, "remove the bridge {bridge}"),
            Self::Reload => formatter.write_str("reload systemd-networkd"),
            Self::Await { bridge } => write!(formatter, "wait until {bridge} is up"),
            Self::Prove => formatter
                .write_str("keep the change once somebody outside is heard, or take it back"),
            Self::TakeBack => formatter.write_str("take back settings that led nowhere"),
            Self::Lease { bridge, .. } => write!(formatter, "give leases on {bridge}"),
            Self::StopLeases { bridge } => write!(formatter, "give no more leases on {bridge}"),
        }
    }
}

/// What can go wrong with bridges.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A command.
    #[error("the network could not be changed")]
    Command(#[from] CommandError),
    /// networkd did not read the files that were written.
    #[error("what was written does not count yet")]
    Apply(#[from] ApplyError),
    /// `ip` did not say which links there are and how they stand.
    #[error("the links could not be looked at")]
    Links(#[from] IpError),
    /// A file.
    #[error("a file of the network could not be written")]
    Write(#[from] WriteError),
    /// The way back.
    #[error("the way back from a change is in doubt")]
    Rollback(#[from] RollbackError),
    /// A file could not be read or removed.
    #[error("files in /etc/{DIRECTORY} or of leases could not be read or removed")]
    Files(#[from] std::io::Error),
    /// It never came up.
    #[error("{bridge} is not as intended after {} s: {why}", LEASE.as_secs())]
    Late {
        /// Name of the bridge that did not come up in time.
        bridge: String,
        /// What is missing.
        why: String,
    },
    /// The change was taken back.
    #[error("the change was taken back, the network is as before: {0}")]
    TakenBack(String),
}

impl StepFailure for BridgeError {}

/// All bridges.
pub struct Bridges;

impl Kind for Bridges {
    type Observed = Observed;
    type Action = Action;
    type Error = BridgeError;

    const NAME: &'static str = "bridge";
    const ADVICE: &'static str =
        "look at `networkctl status` and the cable, then run `bedplate-host converge` again";

    fn observe(&self, context: &Context) -> Result<Observed, BridgeError> {
        let (record, record_trouble) = or_trouble(rollback::read(&context.state));
        let (lab, lab_trouble) = or_trouble(lab::bridge(&context.state));
        Ok(Observed {
            files: our_files(&context.configuration)?,
            applied: applied::read(&context.runtime),
            bridges: links(&ip::addresses()?),
            record,
            record_trouble,
            leases: leases::observe(Path::new(leases::UNITS))?,
            dnsmasq: programs::find("dnsmasq"),
            lab,
            lab_trouble,
        })
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff::diff(intent, observed)
    }

    fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        diff::describe(intent, observed, name)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        of_step: &StepReporter<'_>,
    ) -> Result<Outcome, BridgeError> {
        match action {
            Action::Arm { trying } => rollback::arm(&context.state, trying)?,
            Action::WriteFile { path, content } => {
                atomic::write(&context.configuration.join(path), content, 0o644)?;
            }
            Action::RemoveFile { path } => fs::remove_file(context.configuration.join(path))?,
            Action::RemoveBridge { bridge } => ip::remove_bridge(bridge)?,
            Action::Reload => applied::apply(&context.configuration, &context.runtime)?,
            Action::Await { bridge } => wait(&context.intent, bridge)?,
            Action::Prove => proof::prove(context, of_step)?,
            Action::TakeBack => {
                let record = rollback::read(&context.state)?.unwrap_or_default();
                rollback::restore(&context.configuration, &record)?;
                applied::apply(&context.configuration, &context.runtime)?;
            }
            Action::Lease { bridge, unit } => {
                let name = leases::unit_name(bridge);
                atomic::write(&Path::new(leases::UNITS).join(&name), unit, 0o644)?;
                systemctl::reload_units()?;
                systemctl::restart(&name)?;
            }
            Action::StopLeases { bridge } => {
                let name = leases::unit_name(bridge);
                systemctl::stop(&name)?;
                fs::remove_file(Path::new(leases::UNITS).join(&name))?;
                systemctl::reload_units()?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// What a record says, or why it says nothing: that concerns some bridges, and hides no other.
fn or_trouble<T, E: std::error::Error>(read: Result<Option<T>, E>) -> (Option<T>, Option<String>) {
    match read {
        Ok(found) => (found, None),
        Err(error) => (None, Some(in_line(&error))),
    }
}

/// What keeps a bridge from being as intended.
fn missing(bridge: &Bridge, found: Option<&ObservedBridge>) -> Option<String> {
    let Some(found) = found else { return Some("it does not exist".to_owned()) };
    if let Some(nic) = bridge.nic.as_ref().filter(|nic| found.port(nic).is_none()) {
        return Some(match nic {
            Nic::Name(name) => format!("{name} is not one of its ports"),
            Nic::Mac(mac) => format!("the NIC {mac} is not one of its ports"),
        });
    }
    if found.vlans_differ(bridge.vlan_aware) {
        let wanted = if bridge.vlan_aware { "does not keep" } else { "still keeps" };
        return Some(format!("it {wanted} VLANs apart"));
    }
    let has_lease = found.addresses.iter().any(|address| !address.contains(':'));
    if bridge.dhcp && !has_lease {
        return Some("it has no lease".to_owned());
    }
    // Of version 6 there are many ways to write one, and the kernel knows its own alone.
    let has = |wanted: &String| found.addresses.iter().any(|one| is_same_address(one, wanted));
    let lacks = bridge.addresses.iter().find(|address| !has(address));
    lacks.map(|address| format!("it does not have the address {address}"))
}

fn is_same_address(one: &str, other: &str) -> bool {
    let parsed = |text: &str| -> Option<(IpAddr, u8)> {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok()?))
    };
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}

fn stamp(files: &BTreeMap<String, String>) -> String {
    digest::of_parts(files.iter().flat_map(|(path, content)| [path.as_str(), content]))
}

fn wait(intent: &HostFile, name: &str) -> Result<(), BridgeError> {
    let Some(bridge) = intent.network.bridges.get(name) else { return Ok(()) };
    let began = Instant::now();
    loop {
        let Some(why) = missing(bridge, links(&ip::addresses()?).get(name)) else { return Ok(()) };
        if began.elapsed() > LEASE {
            return Err(BridgeError::Late { bridge: name.to_owned(), why });
        }
        sleep(Duration::from_millis(500));
    }
}

fn our_files(configuration: &Path) -> Result<BTreeMap<String, String>, std::io::Error> {
    let directory = configuration.join(DIRECTORY);
    if !directory.is_dir() {
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(PREFIX) {
            found.insert(format!("{DIRECTORY}/{name}"), fs::read_to_string(entry.path())?);
        }
    }
    Ok(found)
}

fn links(all: &serde_json::Value) -> BTreeMap<String, ObservedBridge> {
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let text =
        |link: &serde_json::Value, key: &str| link[key].as_str().unwrap_or_default().to_owned();
    let mut bridges: BTreeMap<String, ObservedBridge> = all
        .iter()
        .filter(|link| link["linkinfo"]["info_kind"] == "bridge")
        .map(|link| {
            let addresses = link["addr_info"].as_array().map(Vec::as_slice).unwrap_or_default();
            let addresses = addresses.iter().filter(|address| address["scope"] != "link");
            let addresses =
                addresses.map(|one| format!("{}/{}", text(one, "local"), one["prefixlen"]));
            let filters = link["linkinfo"]["info_data"]["vlan_filtering"].as_u64();
            let bridge = ObservedBridge {
                addresses: addresses.collect(),
                vlan_aware: filters.map(|filters| filters != 0),
                ..Default::default()
            };
            (text(link, "ifname"), bridge)
        })
        .collect();
    for link in all {
        if let Some(bridge) = bridges.get_mut(&text(link, "master")) {
            let (name, mac) = (text(link, "ifname"), text(link, "address"));
            let is_hardware = hardware::is_hardware(all, link);
            bridge.ports.push(Port { name, mac, is_hardware });
        }
    }
    bridges
}

#[cfg(test)]
mod tests;
