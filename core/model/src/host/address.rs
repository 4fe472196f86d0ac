//! Addresses in their networks: which network an address stands in, and what that network holds.

use std::net::IpAddr;

use super::{Bridge, Cidr};

/// An address of the machine with the prefix of the network that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedAddress {
    /// The address itself.
    pub address: IpAddr,
    /// How many of its bits name the network.
    pub prefix: u8,
}

impl PlacedAddress {
    /// Reads an address as `192.168.1.5/24`; none when the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // networkd reads `024` as an octal number.
        let is_octal = prefix.len() > 1 && prefix.starts_with('0');
        let digits = !is_octal && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= width(address))?;
        Some(Self { address, prefix })
    }

    /// The network that the address stands in.
    pub fn network(self) -> Cidr {
        let first = bits(self.address) & mask(self.address, self.prefix);
        Cidr { address: of_bits(first, self.address), prefix: self.prefix }
    }

    /// Whether it stands alone: a prefix of 32 bits, or 128 of IPv6, names no network around it.
    pub fn is_alone(self) -> bool {
        self.prefix == width(self.address)
    }
}

impl Cidr {
    /// Whether the address is one of the network's.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && bits(address) & mask(address, self.prefix) == bits(self.address)
    }

    /// Whether both cannot be in use side by side: they are equal, or one lies in the other, and
    /// neither is as wide as a site with many networks, such as 10.0.0.0/8 or 192.168.0.0/16.
    pub fn is_one_with(&self, other: &Self) -> bool {
        let site = if self.address.is_ipv4() { 16 } else { 56 };
        let overlap = self.contains(other.address) || other.contains(self.address);
        self == other || (overlap && self.prefix.min(other.prefix) > site)
    }

    /// The last address, which in an IPv4 network of four or more is the broadcast.
    pub fn last(&self) -> IpAddr {
        let rest = !mask(self.address, self.prefix) & whole(self.address);
        of_bits(bits(self.address) | rest, self.address)
    }
}

impl Bridge {
    /// The addresses, but for those that were refused and stand as empty strings.
    pub fn placed(&self) -> impl Iterator<Item = PlacedAddress> + '_ {
        self.addresses.iter().filter_map(|text| PlacedAddress::parse(text))
    }

    /// Whether the gateway is reached on the wire although it is in no network of the bridge: what
    /// hosters mean whose machines have one address and no network, a `/32`, or a `/128` of IPv6.
    /// An IPv6 gateway of the link itself (`fe80::`) is reached without a word.
    pub fn gateway_is_on_link(&self) -> bool {
        let Some(gateway) = self.gateway else { return false };
        if gateway.is_ipv6() && is_link_local(gateway) {
            return false;
        }
        let is_alike = |it: &PlacedAddress| it.address.is_ipv4() == gateway.is_ipv4();
        let alike: Vec<PlacedAddress> = self.placed().filter(is_alike).collect();
        let is_inside = alike.iter().any(|it| it.network().contains(gateway));
        !is_inside && alike.first().is_some_and(|it| it.is_alone())
    }
}

/// Whether an address is valid on one link alone.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of the same family as `like` that these bits are.
fn of_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        // More than 32 bits are never set in a value that came from an IPv4 address.
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

fn whole(address: IpAddr) -> u128 {
    u128::MAX >> (128 - u32::from(width(address)))
}

/// The bits that name the network.
fn mask(address: IpAddr, prefix: u8) -> u128 {
    let host_bits = u32::from(width(address).saturating_sub(prefix));
    u128::MAX.checked_shl(host_bits).unwrap_or(0) & whole(address)
}
