//! Bridges as files of systemd-networkd (systemd.netdev(5), systemd.network(5), systemd.link(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bedplate_model::host::{Bridge, HostFile, Nic};

/// Directory of the files, under `/etc`.
pub(super) const DIRECTORY: &str = "systemd/network";
/// Only files with this prefix are ours.
pub(super) const PREFIX: &str = "10-bedplate-";
/// Line of a bridge that keeps VLANs apart.
pub(super) const VLAN_FILTERING: &str = "VLANFiltering=yes";
/// How the file of a port ends; a bridge that has one leads to the outside.
const PORT: &str = "-port.network";
/// How the file ends that has networkd make a bridge.
const DEVICE: &str = ".netdev";

/// The networkd files of all bridges: path under `/etc` and content. The platform writes
/// them before networkd starts, so that a crash of this program leaves a reachable machine.
pub fn files(intent: &HostFile) -> Vec<(String, String)> {
    intent.network.bridges.iter().flat_map(|(name, bridge)| bridge_files(name, bridge)).collect()
}

pub(super) fn bridge_files(name: &str, bridge: &Bridge) -> Vec<(String, String)> {
    let path = |suffix: &str| format!("{DIRECTORY}/{PREFIX}{name}{suffix}");
    // Without MACAddress=none networkd, and without the .link file udev, would give the bridge
    // an address of its own; left alone it takes its port's, and so the NIC's lease.
    let vlans = if bridge.vlan_aware {
        format!("{VLAN_FILTERING}\nDefaultPVID=1\n")
    } else {
        String::new()
    };
    let device = format!(
        "[NetDev]\nName={name}\nKind=bridge\nMACAddress=none\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n{vlans}"
    );
    let link = format!("[Match]\nOriginalName={name}\n\n[Link]\nMACAddressPolicy=none\n");
    let mut files = vec![
        (path(".link"), link),
        (path(DEVICE), device),
        (path(".network"), bridge_network(name, bridge)),
    ];
    if let Some(nic) = &bridge.nic {
        files.push((path(PORT), port_network(name, nic, bridge.vlan_aware)));
    }
    files
}

/// Whether the machine counts as online only once this bridge has its address.
pub fn is_awaited(bridge: &Bridge) -> bool {
    bridge.nic.is_some() && is_addressed(bridge)
}

fn is_addressed(bridge: &Bridge) -> bool {
    bridge.dhcp || !bridge.addresses.is_empty()
}

fn bridge_network(name: &str, bridge: &Bridge) -> String {
    let mut text = format!("[Match]\nName={name}\n\n[Link]\n");
    let online = if is_awaited(bridge) { "routable" } else { "no" };
    let _ = write!(text, "RequiredForOnline={online}\n\n[Network]\n");
    let _ = writeln!(text, "DHCP={}", if bridge.dhcp { "yes" } else { "no" });
    if !is_addressed(bridge) {
        text.push_str("LinkLocalAddressing=no\nIPv6AcceptRA=no\n");
    }
    if !bridge.dhcp {
        text.push_str("ConfigureWithoutCarrier=yes\n");
    }
    if bridge.nat {
        text.push_str("IPMasquerade=ipv4\n");
    }
    for address in &bridge.addresses {
        let _ = writeln!(text, "Address={address}");
    }
    let on_link = bridge.gateway_is_on_link();
    if let Some(gateway) = bridge.gateway.filter(|_| !on_link) {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    for server in &bridge.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if let Some(gateway) = bridge.gateway.filter(|_| on_link) {
        let _ = write!(text, "\n[Route]\nGateway={gateway}\nGatewayOnLink=yes\n");
    }
    if bridge.dhcp {
        text.push_str("\n[DHCPv4]\nClientIdentifier=mac\n");
    }
    text
}

pub(super) fn port_network(bridge: &str, nic: &Nic, vlan_aware: bool) -> String {
    // The bridge has the same address: `Kind=!*` leaves only devices that are hardware.
    let matched = match nic {
        Nic::Name(name) => format!("Name={name}"),
        Nic::Mac(mac) => format!("MACAddress={mac}\nType=ether\nKind=!*"),
    };
    // Every VLAN comes in by the NIC; which of them a guest sees is decided at its own port.
    let vlans = if vlan_aware { "\n[BridgeVLAN]\nVLAN=2-4094\n" } else { "" };
    format!(
        "[Match]\n{matched}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nBridge={bridge}\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n{vlans}"
    )
}

/// The files of the bridges that have a NIC: those that can cut the machine off.
pub(super) fn uplinks(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    of_bridges(&uplink_names(all), all)
}

/// The bridges that have a NIC.
pub(super) fn uplink_names(all: &BTreeMap<String, String>) -> BTreeSet<String> {
    all.keys().filter_map(|path| bridge_of(path, PORT)).map(str::to_owned).collect()
}

/// The bridge that a file makes; none for any other file.
pub(super) fn made_by(path: &str) -> Option<&str> {
    bridge_of(path, DEVICE)
}

/// The bridge whose file ends so.
fn bridge_of<'p>(path: &'p str, end: &str) -> Option<&'p str> {
    let name = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?.strip_prefix(PREFIX)?;
    name.strip_suffix(end)
}

/// Those of the files that belong to one of the bridges.
pub(super) fn of_bridges(
    names: &BTreeSet<String>,
    all: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    all.iter()
        .filter(|(path, _)| belongs(path, names))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect()
}

/// Whether a file belongs to one of the bridges.
pub(super) fn belongs(path: &str, names: &BTreeSet<String>) -> bool {
    names.iter().any(|name| {
        let rest = path.strip_prefix(&format!("{DIRECTORY}/{PREFIX}{name}"));
        rest.is_some_and(|rest| [".link", DEVICE, ".network", PORT].contains(&rest))
    })
}

/// Whether some bridge among these files gets an address.
pub(super) fn has_address(files: &BTreeMap<String, String>) -> bool {
    let gives = |line: &str| {
        line.starts_with("Address=") || (line.starts_with("DHCP=") && line != "DHCP=no")
    };
    files.values().any(|text| text.lines().any(gives))
}
