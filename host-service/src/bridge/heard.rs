//! Whether somebody outside is heard on a bridge.

use std::net::{IpAddr, UdpSocket};

use serde_json::Value;

use bedplate_spec::host::Bridge;
use bedplate_tools::ip::{self, IpError};

use super::ObservedBridge;

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
    let states = |one: &Value| -> Vec<String> {
        let states = one["state"].as_array().map(Vec::as_slice).unwrap_or_default();
        states.iter().filter_map(|state| state.as_str().map(str::to_owned)).collect()
    };
    all.iter().any(|one| {
        one["dst"].as_str().and_then(|text| text.parse().ok()) == Some(gateway)
            && one["lladdr"].is_string()
            && !states(one).iter().any(|state| state == "FAILED" || state == "INCOMPLETE")
    })
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
