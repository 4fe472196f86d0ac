//! Bridges: systemd-networkd files and what became of them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use bedplate_spec::event::Outcome;
use bedplate_spec::host::{Bridge, HostFile, Nic};
use bedplate_tools::command::{CommandError, CommandExt as _};
use bedplate_tools::networkctl;

use crate::atomic::{self, WriteError};
use crate::context::Context;
use crate::kind::{Kind, Resource};
use crate::report::Reporter;

/// Directory of the files, under `/etc`.
const DIRECTORY: &str = "systemd/network";
/// Only files with this prefix are ours.
const PREFIX: &str = "10-bedplate-";
/// Under the runtime directory.
const STAMP: &str = "network.applied";
/// How long a lease may take.
const LEASE: Duration = Duration::from_secs(60);

/// The networkd files of all bridges: path under `/etc` and content. The platform writes
/// them before networkd starts, so that a crash of this program leaves a reachable machine.
pub fn files(intent: &HostFile) -> Vec<(String, String)> {
    intent.network.bridges.iter().flat_map(|(name, bridge)| bridge_files(name, bridge)).collect()
}

fn bridge_files(name: &str, bridge: &Bridge) -> Vec<(String, String)> {
    let path = |suffix: &str| format!("{DIRECTORY}/{PREFIX}{name}{suffix}");
    // Without MACAddress=none networkd, and without the .link file udev, would give the bridge
    // an address of its own; left alone it takes its port's, and so the NIC's lease.
    let device = format!(
        "[NetDev]\nName={name}\nKind=bridge\nMACAddress=none\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"
    );
    let link = format!("[Match]\nOriginalName={name}\n\n[Link]\nMACAddressPolicy=none\n");
    let mut files = vec![
        (path(".link"), link),
        (path(".netdev"), device),
        (path(".network"), bridge_network(name, bridge)),
    ];
    if let Some(nic) = &bridge.nic {
        files.push((path("-port.network"), port_network(name, nic)));
    }
    files
}

fn bridge_network(name: &str, bridge: &Bridge) -> String {
    let mut text = format!("[Match]\nName={name}\n\n[Link]\n");
    let addressed = bridge.dhcp || !bridge.addresses.is_empty();
    let online = if bridge.nic.is_some() && addressed { "routable" } else { "no" };
    let _ = write!(text, "RequiredForOnline={online}\n\n[Network]\n");
    let _ = writeln!(text, "DHCP={}", if bridge.dhcp { "yes" } else { "no" });
    if !addressed {
        text.push_str("LinkLocalAddressing=no\nIPv6AcceptRA=no\n");
    }
    if !bridge.dhcp {
        text.push_str("ConfigureWithoutCarrier=yes\n");
    }
    for address in &bridge.addresses {
        let _ = writeln!(text, "Address={address}");
    }
    if let Some(gateway) = &bridge.gateway {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    for server in &bridge.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if bridge.dhcp {
        text.push_str("\n[DHCPv4]\nClientIdentifier=mac\n");
    }
    text
}

fn port_network(bridge: &str, nic: &Nic) -> String {
    // The bridge has the same address: `Kind=!*` leaves only devices that are hardware.
    let matched = match nic {
        Nic::Name(name) => format!("Name={name}"),
        Nic::Mac(mac) => format!("MACAddress={mac}\nType=ether\nKind=!*"),
    };
    format!(
        "[Match]\n{matched}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nBridge={bridge}\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
}

/// What was found of bridges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Our files, by path under `/etc`.
    pub files: BTreeMap<String, String>,
    /// Hash of the files networkd last read at our request since boot.
    pub applied: Option<String>,
    /// Bridges that stand.
    pub bridges: BTreeMap<String, ObservedBridge>,
}

/// A bridge that stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedBridge {
    /// MAC addresses and names of its ports.
    pub ports: Vec<Nic>,
    /// Addresses with prefix, link-local ones left out.
    pub addresses: Vec<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Write a file of ours.
    WriteFile {
        /// Path under `/etc`.
        path: String,
        /// Content.
        content: String,
    },
    /// Remove a file of ours.
    RemoveFile {
        /// Path under `/etc`.
        path: String,
    },
    /// Let networkd read its files.
    Reload,
    /// Wait until the bridge stands and has its addresses.
    Await {
        /// Name.
        bridge: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFile { path, .. } => write!(formatter, "write /etc/{path}"),
            Self::RemoveFile { path } => write!(formatter, "remove /etc/{path}"),
            Self::Reload => formatter.write_str("reload systemd-networkd"),
            Self::Await { bridge } => write!(formatter, "wait until {bridge} is up"),
        }
    }
}

/// What can go wrong with bridges.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A command.
    #[error("the network could not be looked at or changed")]
    Command(#[from] CommandError),
    /// `ip` said something unexpected.
    #[error("`ip` described the links in a way that cannot be read")]
    Answer(#[from] serde_json::Error),
    /// A file.
    #[error("a file of systemd-networkd could not be written")]
    Write(#[from] WriteError),
    /// A file could not be read or removed.
    #[error("files in /etc/{DIRECTORY} could not be read or removed")]
    Files(#[from] std::io::Error),
    /// It never came up.
    #[error("{bridge} is not as intended after {} s: {why}", LEASE.as_secs())]
    Late {
        /// Which.
        bridge: String,
        /// What is missing.
        why: String,
    },
}

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
        Ok(Observed {
            files: our_files(&context.configuration)?,
            applied: fs::read_to_string(context.runtime.join(STAMP)).ok(),
            bridges: observe_links()?,
        })
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff(intent, observed)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        _: &mut Reporter<'_>,
    ) -> Result<Outcome, BridgeError> {
        match action {
            Action::WriteFile { path, content } => {
                atomic::write(&context.configuration.join(path), content, 0o644)?;
            }
            Action::RemoveFile { path } => fs::remove_file(context.configuration.join(path))?,
            Action::Reload => {
                let read = stamp(&our_files(&context.configuration)?);
                networkctl::reload()?;
                atomic::write(&context.runtime.join(STAMP), &read, 0o644)?;
            }
            Action::Await { bridge } => wait(&context.intent, bridge)?,
        }
        Ok(Outcome::Done)
    }
}

fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    let mut resources: Vec<_> = intent
        .network
        .bridges
        .iter()
        .map(|(name, bridge)| {
            let wanted = bridge_files(name, bridge);
            let changed =
                wanted.into_iter().filter(|(path, text)| observed.files.get(path) != Some(text));
            let mut actions: Vec<_> =
                changed.map(|(path, content)| Action::WriteFile { path, content }).collect();
            // A run that was cut off may have written files that networkd never read.
            let applied = observed.applied.as_ref() == Some(&stamp(&observed.files));
            if !actions.is_empty() || !applied {
                actions.push(Action::Reload);
            }
            if missing(bridge, observed.bridges.get(name)).is_some() || !actions.is_empty() {
                actions.push(Action::Await { bridge: name.clone() });
            }
            Resource::new(name, actions)
        })
        .collect();
    let wanted: BTreeMap<_, _> = files(intent).into_iter().collect();
    let stale = observed.files.keys().filter(|path| !wanted.contains_key(*path));
    let mut actions: Vec<_> = stale.map(|path| Action::RemoveFile { path: path.clone() }).collect();
    if !actions.is_empty() {
        actions.push(Action::Reload);
        resources.push(Resource::new("withdrawn", actions));
    }
    resources
}

/// What keeps a bridge from being as intended.
fn missing(bridge: &Bridge, found: Option<&ObservedBridge>) -> Option<String> {
    let Some(found) = found else { return Some("it does not exist".to_owned()) };
    let is_port = |nic: &Nic| found.ports.contains(nic);
    if let Some(nic) = bridge.nic.as_ref().filter(|nic| !is_port(nic)) {
        return Some(match nic {
            Nic::Name(name) => format!("{name} is not one of its ports"),
            Nic::Mac(mac) => format!("the NIC {mac} is not one of its ports"),
        });
    }
    let has_lease = found.addresses.iter().any(|address| !address.contains(':'));
    if bridge.dhcp && !has_lease {
        return Some("it has no lease".to_owned());
    }
    let lacks = bridge.addresses.iter().find(|address| !found.addresses.contains(address));
    lacks.map(|address| format!("it does not have the address {address}"))
}

fn stamp(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(content.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn wait(intent: &HostFile, name: &str) -> Result<(), BridgeError> {
    let Some(bridge) = intent.network.bridges.get(name) else { return Ok(()) };
    let began = Instant::now();
    loop {
        let Some(why) = missing(bridge, observe_links()?.get(name)) else { return Ok(()) };
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

fn observe_links() -> Result<BTreeMap<String, ObservedBridge>, BridgeError> {
    let text =
        std::process::Command::new("ip").args(["-details", "-json", "address", "show"]).read()?;
    Ok(links(&serde_json::from_str(&text)?))
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
            let bridge = ObservedBridge { addresses: addresses.collect(), ..Default::default() };
            (text(link, "ifname"), bridge)
        })
        .collect();
    for link in all {
        if let Some(bridge) = bridges.get_mut(&text(link, "master")) {
            bridge.ports.push(Nic::Name(text(link, "ifname")));
            bridge.ports.push(Nic::Mac(text(link, "address")));
        }
    }
    bridges
}

#[cfg(test)]
mod tests;
