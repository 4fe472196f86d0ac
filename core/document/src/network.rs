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
        // 0 and 4095 are no VLANs of their own, and no VM is put into them.
        let into = if matches!(vlan, 1..=4094) { vlan.to_string() } else { "…".to_owned() };
        return wrong(
            "is a VLAN, which stands on a NIC and is none",
            format!(
                "write `nic = \"{nic}\"` and `vlan_aware = true`: every VLAN then comes in by the \
                 NIC, `vlan = {into}` in `[vms.<name>]` puts a VM into one, and the machine itself \
                 is in the untagged one"
            ),
        );
    }
    if is_wireless_name(text) {
        return wrong("is a Wi-Fi card, which cannot be a port of a bridge", WIRED.to_owned());
    }
    Ok(())
}

/// NIC and number of a VLAN by the names that Linux gives: `enp5s0.20`, `vlan20`; of one within
/// another, the outer.
fn vlan(name: &str) -> Option<(&str, u16)> {
    let (nic, numbers) = match name.split_once('.') {
        Some(("vlan", number)) => ("enp5s0", number),
        Some(split) => split,
        None => ("enp5s0", name.strip_prefix("vlan")?),
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number < 4096)
    };
    let mut numbers = numbers.split('.').map(number);
    let outer = numbers.next()??;
    numbers.all(|inner| inner.is_some()).then_some((nic, outer))
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
    } else if is_ipv4_within(address) {
        Some("is an IPv4 address written as IPv6")
    } else {
        None
    }
}

/// Mapped as `::ffff:192.168.1.1`, or compatible as `::192.168.1.1`, which nothing routes (RFC 4291,
/// 2.5.5).
fn is_ipv4_within(address: IpAddr) -> bool {
    let IpAddr::V6(within) = address else { return false };
    let is_compatible = within.segments()[..6].iter().all(|segment| *segment == 0);
    is_compatible || address.to_canonical() != address
}

fn ip(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| Wrong {
        message: format!("{} is not an IP address", quote(text)),
        help: match text.split_once('%') {
            Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
                format!("write only {}: the link is that of the bridge", quote(address))
            }
            _ => "write it as \"192.168.1.1\"".into(),
        },
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

/// Nobody has a network with more addresses than 10.0.0.0/8, or than the private ones of IPv6.
const WIDEST: u8 = 8;

fn widest(address: IpAddr) -> u8 {
    // fc00::/7 is all that is private.
    if address.is_ipv4() { WIDEST } else { 7 }
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
    if placed.prefix < WIDEST {
        let help = format!("{}: the prefix counts the bits that name the network", example());
        return wrong("has a great part of all addresses in its network", help);
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
        Ok(cidr) if cidr.prefix < widest(cidr.address) => {
            let message = format!("{} is a great part of everyone", quote(text));
            Err(Wrong { message, help })
        }
        Ok(_) => Ok(()),
        Err(message) => Err(Wrong { message, help }),
    }
}
