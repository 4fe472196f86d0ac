//! `[network]`: which names and addresses can stand there, each looked at alone.

use bedplate_model::nic::{WIRED, is_wireless_name};
use std::net::{IpAddr, Ipv4Addr};

use super::problem::quote;
use super::rules::{self, Wrong, require};
use super::section::Section;
use bedplate_model::host::{Bridge, Cidr, Network, Nic, PlacedAddress};

/// What stands for a network that is wrong, which has been reported.
const NOWHERE: Cidr = Cidr { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 32 };

pub(super) fn network(section: &Section<'_>) -> Network {
    Network {
        lan_cidr: Cidr::try_from(section.text("lan_cidr")).unwrap_or(NOWHERE),
        bridges: section.named("bridges", |_: &String, section| bridge(section)),
    }
}

fn bridge(section: &Section<'_>) -> Bridge {
    let nic = match section.some_text("nic") {
        Some(name) => Some(Nic::Name(name)),
        None => section.some_section("nic").and_then(|nic| nic.some_mac("mac")).map(Nic::Mac),
    };
    let addresses = section.texts("addresses");
    let dns = section.texts("dns");
    Bridge {
        dhcp: section.some_boolean("dhcp").unwrap_or(nic.is_some() && addresses.is_empty()),
        nic,
        addresses,
        gateway: section.some_text("gateway").and_then(|text| text.parse().ok()),
        dns: dns.iter().filter_map(|text| text.parse().ok()).collect(),
        vlan_aware: section.boolean("vlan_aware"),
        nat: section.boolean("nat"),
    }
}

/// Names that the kernel and networkd keep for themselves.
const RESERVED_NAMES: [&str; 3] = ["lo", "all", "default"];

/// The name of a bridge, which the machine makes.
pub(super) fn bridge_name(text: &str) -> Result<(), Wrong> {
    rules::interface(text)?;
    let is_taken = RESERVED_NAMES.contains(&text) || text.bytes().all(|byte| byte.is_ascii_digit());
    require(
        !is_taken,
        text,
        "a name for a bridge",
        "the system has this name for something else; write one such as \"br0\"",
    )
}

/// The name of a NIC that can be a port of a bridge.
pub(super) fn nic_name(text: &str) -> Result<(), Wrong> {
    rules::interface(text)?;
    let wrong =
        |what: &str, help: String| Err(Wrong { message: format!("{} {what}", quote(text)), help });
    if RESERVED_NAMES.contains(&text) {
        let help = "write the name of a NIC as `bedplate inventory` shows it, such as \"enp5s0\"";
        return wrong("is no NIC: the machine speaks to itself by it", help.into());
    }
    if let Some((nic, vlan)) = vlan(text) {
        return wrong(
            "is a VLAN, which stands on a NIC and is none",
            format!(
                "write `nic = \"{nic}\"` and `vlan_aware = true`: every VLAN then comes in by the \
                 NIC, `vlan = {vlan}` in `[vms.<name>]` puts a VM into one, and the machine itself \
                 is in the untagged one"
            ),
        );
    }
    if is_wireless_name(text) {
        return wrong("is a Wi-Fi card, which cannot be a port of a bridge", WIRED.to_owned());
    }
    Ok(())
}

/// NIC and number of a VLAN by the names that Linux gives: `enp5s0.20`, `vlan20`.
fn vlan(name: &str) -> Option<(&str, u16)> {
    let (nic, number) = match name.rsplit_once('.') {
        Some(split) => split,
        None => ("enp5s0", name.strip_prefix("vlan")?),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((nic, number.parse().ok().filter(|number| digits && *number < 4096)?))
}

/// Why no machine has this address, when that is so.
fn fault(address: IpAddr) -> Option<&'static str> {
    let reserved = match address {
        IpAddr::V4(address) => matches!(address.octets()[0], 0 | 240..),
        IpAddr::V6(_) => false,
    };
    if address.is_unspecified() {
        Some("stands for no address at all")
    } else if address.is_loopback() {
        Some("is a loopback address, by which a machine reaches itself alone")
    } else if address.is_multicast() {
        Some("is a multicast address, which belongs to no machine")
    } else if reserved {
        Some("is reserved, and no machine may have it")
    } else if address.to_canonical() != address {
        Some("is an IPv4 address written as IPv6")
    } else {
        None
    }
}

fn ip(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| Wrong {
        message: format!("{} is not an IP address", quote(text)),
        help: "write it as \"192.168.1.1\"".into(),
    })
}

pub(super) fn gateway(text: &str) -> Result<(), Wrong> {
    match fault(ip(text)?) {
        Some(fault) => Err(Wrong {
            message: format!("{} {fault}", quote(text)),
            help:
                "write the address of the router in the machine's network, such as \"192.168.1.1\""
                    .into(),
        }),
        None => Ok(()),
    }
}

/// A name server, which may run on the machine itself.
pub(super) fn name_server(text: &str) -> Result<(), Wrong> {
    let address = ip(text)?;
    match fault(address).filter(|_| !address.is_loopback()) {
        Some(fault) => Err(Wrong {
            message: format!("{} {fault}", quote(text)),
            help: "write the address of a name server, such as \"192.168.1.1\"".into(),
        }),
        None => Ok(()),
    }
}

/// An address that the machine can have, with the prefix of its network.
pub(super) fn own_address(text: &str) -> Result<(), Wrong> {
    let Some(placed) = PlacedAddress::parse(text) else {
        return Err(Wrong {
            message: format!("{} is not an address with prefix", quote(text)),
            help: "write it as \"192.168.1.5/24\"".into(),
        });
    };
    let wrong =
        |what: &str, help: String| Err(Wrong { message: format!("{} {what}", quote(text)), help });
    let example = || "write an address of this machine, such as \"192.168.1.5/24\"".to_owned();
    if let Some(fault) = fault(placed.address) {
        return wrong(fault, example());
    }
    if placed.prefix == 0 {
        return wrong("has all addresses there are in its network", example());
    }
    let network = placed.network();
    let alone = if placed.address.is_ipv4() { 32 } else { 128 };
    if placed.prefix >= alone - 1 {
        return Ok(()); // Two machines that face each other need neither name nor broadcast.
    }
    let help = || {
        format!(
            "write an address in the network, between {} and {}",
            network.address,
            network.last()
        )
    };
    if placed.address == network.address {
        return wrong("is the address of the network itself", help());
    }
    if placed.address.is_ipv4() && placed.address == network.last() {
        return wrong("is the broadcast address of its network", help());
    }
    Ok(())
}

/// A network that may be let in: never everyone (T37).
pub(super) fn client(text: &str) -> Result<(), Wrong> {
    let help = "write a network such as \"192.168.1.0/24\"".to_owned();
    if !text.chars().all(|c| c.is_ascii_hexdigit() || ".:/".contains(c)) {
        return Err(Wrong { message: format!("{} is not a network", quote(text)), help });
    }
    match Cidr::try_from(text.to_owned()) {
        Ok(cidr) if cidr.prefix == 0 => {
            Err(Wrong { message: format!("{} is everyone", quote(text)), help })
        }
        Ok(_) => Ok(()),
        Err(message) => Err(Wrong { message, help }),
    }
}
