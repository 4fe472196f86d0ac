//! Whether somebody outside is heard on a bridge.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use serde_json::Value;

use bedplate_model::host::Bridge;
use bedplate_tools::ip::{self, IpError};

use super::ObservedBridge;
use super::hardware::is_hardware;

/// Discard (RFC 863): what is sent there is only to make the kernel ask who has the address.
const NOBODY_LISTENS: u16 = 9;

/// Asks the gateway of a bridge, and says whether somebody outside was heard since the neighbours
/// were forgotten: the gateway, or, where there is none, anybody behind the NIC.
pub(super) fn outside(
    name: &str,
    bridge: &Bridge,
    found: &ObservedBridge,
) -> Result<bool, IpError> {
    let gateway = match bridge.gateway {
        Some(gateway) => Some(gateway),
        None => gateway(&ip::default_routes(name)?),
    };
    match gateway {
        Some(gateway) => {
            ask(gateway);
            Ok(answered(&ip::neighbours(name)?, gateway))
        }
        None => {
            let uplink = bridge.nic.as_ref().and_then(|nic| found.port(nic));
            let Some(uplink) = uplink else { return Ok(false) };
            Ok(behind(&ip::learned(name)?, uplink))
        }
    }
}

/// A link that is no bridge of ours and has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OtherLink {
    /// Name of the interface, such as `enp6s0` or `docker0`.
    pub(super) name: String,
    /// Whether it is a NIC, or made of NICs: guests and containers stand behind others.
    pub(super) is_hardware: bool,
}

/// The links by which somebody may still reach this machine when no bridge of ours has an address.
/// A bridge that lost its files counts for nothing: what it still has is gone at the next boot.
pub(super) fn other_links(all: &Value, ours: &BTreeSet<String>) -> Vec<OtherLink> {
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let reaches = |link: &&Value| {
        let addresses = link["addr_info"].as_array().map(Vec::as_slice).unwrap_or_default();
        link["link_type"] != "loopback"
            && link["master"].is_null()
            && addresses.iter().any(|address| address["scope"] == "global")
    };
    all.iter()
        .filter(reaches)
        .filter_map(|link| {
            let name = link["ifname"].as_str()?.to_owned();
            Some(OtherLink { name, is_hardware: is_hardware(all, link) })
        })
        .filter(|link| !ours.contains(&link.name))
        .collect()
}

/// Whether the default gateway behind a link answered since the neighbours were forgotten, or,
/// where it has none, anybody behind a NIC was heard.
pub(super) fn behind_other(link: &OtherLink) -> Result<bool, IpError> {
    match gateway(&ip::default_routes(&link.name)?) {
        Some(gateway) => {
            ask(gateway);
            Ok(answered(&ip::neighbours(&link.name)?, gateway))
        }
        None => Ok(link.is_hardware && anybody(&ip::neighbours(&link.name)?)),
    }
}

/// Whether it arrives is told by the neighbours.
fn ask(gateway: IpAddr) {
    let any = if gateway.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    if let Ok(socket) = UdpSocket::bind(any) {
        let _ = socket.send_to(&[0], (gateway, NOBODY_LISTENS));
    }
}

pub(super) fn gateway(routes: &Value) -> Option<IpAddr> {
    let routes = routes.as_array()?.iter();
    routes.filter_map(|route| route["gateway"].as_str()?.parse().ok()).next()
}

pub(super) fn answered(neighbours: &Value, gateway: IpAddr) -> bool {
    let all = neighbours.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_gateway =
        |one: &&Value| one["dst"].as_str().and_then(|text| text.parse().ok()) == Some(gateway);
    all.iter().filter(is_gateway).any(|one| is_there(one, &["FAILED", "INCOMPLETE"]))
}

/// What somebody wrote down by hand says nothing.
pub(super) fn anybody(neighbours: &Value) -> bool {
    let all = neighbours.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().any(|one| is_there(one, &["FAILED", "INCOMPLETE", "PERMANENT", "NOARP"]))
}

fn is_there(neighbour: &Value, but: &[&str]) -> bool {
    let states = neighbour["state"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut states = states.iter().filter_map(Value::as_str);
    neighbour["lladdr"].is_string() && !states.any(|state| but.contains(&state))
}

/// Addresses of the host's own ports are permanent; what was learned came in from there.
pub(super) fn behind(learned: &Value, port: &str) -> bool {
    let all = learned.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().any(|one| {
        let flags = one["flags"].as_array().map(Vec::as_slice).unwrap_or_default();
        one["ifname"] == port
            && one["state"] != "permanent"
            && !flags.iter().any(|flag| flag == "self")
    })
}
