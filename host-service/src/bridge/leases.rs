//! Leases and names for guests on a bridge that hides them behind the host: dnsmasq, in a unit of
//! the running system that is made anew at every boot.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use bedplate_model::host::Bridge;
use bedplate_tools::systemctl;

/// Where units of the running system stand.
pub(super) const UNITS: &str = "/run/systemd/system";
/// How the names of ours begin.
pub(super) const PREFIX: &str = "bedplate-leases-";

/// The name of the unit of a bridge.
pub(super) fn unit_name(bridge: &str) -> String {
    format!("{PREFIX}{bridge}.service")
}

/// Units of ours in a directory, by bridge, and whether each runs.
pub(super) fn observe(units: &Path) -> io::Result<BTreeMap<String, (String, bool)>> {
    let mut found = BTreeMap::new();
    if !units.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(units)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let bridge = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(".service"));
        if let Some(bridge) = bridge {
            let runs = systemctl::is_active(&name).unwrap_or(false);
            found.insert(bridge.to_owned(), (fs::read_to_string(entry.path())?, runs));
        }
    }
    Ok(found)
}

/// Addresses for guests: everything behind the host's own, or before it where it is the last.
pub(super) fn range(address: &str) -> Option<(Ipv4Addr, Ipv4Addr, Ipv4Addr)> {
    let (own, prefix) = address.split_once('/')?;
    let own = u32::from(own.parse::<Ipv4Addr>().ok()?);
    let prefix: u32 = prefix.parse().ok().filter(|prefix| (1..=29).contains(prefix))?;
    let mask = u32::MAX << (32 - prefix);
    let (network, broadcast) = (own & mask, own | !mask);
    let (after, before) = (broadcast - 1 - own, own - network - 1);
    let (first, last) =
        if after >= before { (own + 1, broadcast - 1) } else { (network + 1, own - 1) };
    Some((first.into(), last.into(), mask.into()))
}

/// The unit, or none for a bridge that gives no leases. It runs as nobody in particular, with
/// the rights that serving DHCP takes.
pub(super) fn unit(name: &str, bridge: &Bridge, dnsmasq: &Path) -> Option<String> {
    let (first, last, mask) = range(bridge.addresses.first().filter(|_| bridge.nat)?)?;
    let program = dnsmasq.display();
    Some(format!(
        "[Unit]\nDescription=Bedplate: leases for guests on {name}\nAfter=systemd-networkd.service\n\n\
         [Service]\nExecStart={program} --keep-in-foreground --conf-file=/dev/null --pid-file= --bind-dynamic \
         --interface={name} --except-interface=lo --dhcp-range={first},{last},{mask},12h \
         --dhcp-authoritative --dhcp-leasefile=%S/{PREFIX}{name}/leases\n\
         Restart=on-failure\nRestartSec=5\nDynamicUser=yes\nStateDirectory={PREFIX}{name}\n\
         AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW\n\
         CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_the_longer_side_of_the_network() {
        let range = |address| {
            let (first, last, mask) = range(address).unwrap();
            [first, last, mask].map(|address| address.to_string())
        };
        assert_eq!(range("10.9.0.1/24"), ["10.9.0.2", "10.9.0.254", "255.255.255.0"]);
        assert_eq!(range("10.9.0.254/24"), ["10.9.0.1", "10.9.0.253", "255.255.255.0"]);
        assert_eq!(range("10.9.0.9/29"), ["10.9.0.10", "10.9.0.14", "255.255.255.248"]);
        assert!(super::range("10.9.0.1/31").is_none() && super::range("fd00::1/64").is_none());
    }
}
