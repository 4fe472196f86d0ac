//! `ip` and `bridge` of iproute2: links, neighbours and what bridges have learned, as JSON.

use std::net::IpAddr;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::command::{CommandError, CommandExt as _};

/// An answer that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IpError {
    /// It failed.
    #[error("the network could not be looked at")]
    Command(#[from] CommandError),
    /// It said something that is no JSON.
    #[error("`ip` answered in a way that cannot be read")]
    Answer(#[from] serde_json::Error),
}

/// Every link with its addresses and what kind it is.
pub fn addresses() -> Result<Value, IpError> {
    read("ip", &["-details", "-json", "address", "show"])
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
}

/// Under which addresses others reach this machine: the global ones of every link that is up.
pub fn global_addresses() -> Result<Vec<IpAddr>, IpError> {
    let links = read("ip", &["-json", "address", "show", "up", "scope", "global"])?;
    Ok(of_links(links))
}

/// What is no list of links has no addresses.
fn of_links(links: Value) -> Vec<IpAddr> {
    let links: Vec<Link> = serde_json::from_value(links).unwrap_or_default();
    links.into_iter().flat_map(|link| link.addr_info).filter_map(|address| address.local).collect()
}

/// Default routes of version 4 through a link.
pub fn default_routes(link: &str) -> Result<Value, IpError> {
    read("ip", &["-4", "-json", "route", "show", "default", "dev", link])
}

/// Default routes of both versions, through any link.
pub fn all_default_routes() -> Result<Value, IpError> {
    let mut routes = read("ip", &["-4", "-json", "route", "show", "default"])?;
    let others = read("ip", &["-6", "-json", "route", "show", "default"])?;
    if let (Some(routes), Some(others)) = (routes.as_array_mut(), others.as_array()) {
        routes.extend(others.iter().cloned());
    }
    Ok(routes)
}

/// Who was asked for, or heard of, on a link.
pub fn neighbours(link: &str) -> Result<Value, IpError> {
    read("ip", &["-json", "neighbour", "show", "dev", link])
}

/// Has a bridge that stands keep VLANs apart, or not.
pub fn filter_vlans(bridge: &str, on: bool) -> Result<(), IpError> {
    let on = if on { "1" } else { "0" };
    let set = ["link", "set", "dev", bridge, "type", "bridge", "vlan_filtering", on];
    Ok(Command::new("ip").args(set).run()?)
}

/// Takes a bridge away; what stood on it stands alone then.
pub fn remove_bridge(bridge: &str) -> Result<(), CommandError> {
    Command::new("ip").args(["link", "delete", "dev", bridge, "type", "bridge"]).run()
}

/// Forgets who was heard of on a link.
pub fn forget_neighbours(link: &str) -> Result<(), CommandError> {
    Command::new("ip").args(["neighbour", "flush", "dev", link]).run()
}

/// Which addresses a bridge has seen behind which port.
pub fn learned(bridge: &str) -> Result<Value, IpError> {
    read("bridge", &["-json", "fdb", "show", "br", bridge])
}

/// Nothing at all is said where there is nothing.
fn read(program: &str, arguments: &[&str]) -> Result<Value, IpError> {
    let text = Command::new(program).args(arguments).read()?;
    let text = if text.trim().is_empty() { "[]" } else { &text };
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_none_is_passed_over() {
        let links = serde_json::json!([{}, {"ifname": "eth0", "addr_info": [
            {"family": "inet", "local": "10.0.2.15", "prefixlen": 24},
            {"family": "inet6", "local": "fd00::15"}, {},
        ]}]);
        let found: Vec<String> = of_links(links).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.2.15", "fd00::15"]);
        assert!(of_links(serde_json::json!({})).is_empty());
    }
}
