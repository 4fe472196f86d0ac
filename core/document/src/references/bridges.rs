//! Bridges: each stands on a NIC of its own, in a network of its own, and its gateway is in reach.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Report;
use bedplate_model::host::{Bridge, Cidr, HostFile, Nic, PlacedAddress, is_link_local};

/// A network for guests that collides with few others.
const OWN_NETWORK: &str = "write `addresses = [\"10.9.0.1/24\"]`, or another network that is in \
    use nowhere else";

/// More name servers than any resolver asks are not looked at.
const MOST_SERVERS: usize = 100;

/// A network that a bridge has, with what is said when another has it too.
struct Taken {
    network: Cidr,
    bridge: usize,
    path: String,
    nat: bool,
}

impl Taken {
    /// Whether this and the other cannot be in use side by side.
    fn is_one_with(&self, other: &Cidr) -> bool {
        let holds = self.network.prefix <= other.prefix && self.network.contains(other.address);
        self.network.is_one_with(other) || (self.nat && holds)
    }
}

impl Report<'_> {
    pub(super) fn bridges(&self, host: &HostFile) {
        let mut nics: BTreeSet<&Nic> = BTreeSet::new();
        let own: BTreeSet<IpAddr> =
            host.network.bridges.values().flat_map(Bridge::placed).map(|it| it.address).collect();
        for (name, bridge) in &host.network.bridges {
            let path = format!("network.bridges.{name}");
            let of_another = name.strip_suffix("-port");
            if of_another.is_some_and(|other| host.network.bridges.contains_key(other)) {
                // The files of networkd are named by both.
                let message = "its name is that of another bridge's port".into();
                self.wrong(&path, message, "leave `-port` off");
            }
            self.nic(&path, name, host, &mut nics);
            // One whose NIC is refused has been told of that.
            let is_isolated = bridge.nic.is_none() && !self.incomplete(&format!("{path}.nic"));
            if is_isolated && bridge.dhcp {
                let message = "an isolated bridge gets no lease".into();
                self.wrong(&format!("{path}.dhcp"), message, "add `nic`, or write `dhcp = false`");
            }
            self.nat(&path, bridge);
            self.gateway(&path, bridge, &own);
            self.name_servers(&path, bridge);
        }
        self.addresses_twice(host);
        self.networks(host);
    }

    /// A NIC stands on one bridge, and is no bridge itself.
    fn nic<'h>(&self, path: &str, name: &str, host: &'h HostFile, nics: &mut BTreeSet<&'h Nic>) {
        let Some(nic) = host.network.bridges.get(name).and_then(|bridge| bridge.nic.as_ref())
        else {
            return;
        };
        let path = format!("{path}.nic");
        match nic {
            Nic::Name(nic) if nic == name => {
                let help = "write the name of the NIC that leads outside, or remove `nic`";
                self.wrong(&path, "this is the bridge itself".into(), help);
            }
            Nic::Name(nic) if host.network.bridges.contains_key(nic) => {
                let message = format!("`{nic}` is a bridge of this document, and no NIC");
                self.wrong(&path, message, "a bridge stands on a NIC: write the name of one");
            }
            nic if !nics.insert(nic) => {
                let message = "another bridge has this NIC".into();
                self.wrong(&path, message, "a NIC stands on one bridge");
            }
            _ => {}
        }
    }

    fn nat(&self, path: &str, bridge: &Bridge) {
        let wrong = |message: &str, help| self.wrong(&format!("{path}.nat"), message.into(), help);
        if !bridge.nat {
            return;
        }
        if bridge.nic.is_some() {
            return wrong("guests on a NIC are on the LAN already", "remove `nat`, or `nic`");
        }
        let leases = |address: &String| {
            let placed = PlacedAddress::parse(address);
            placed.is_some_and(|it| it.address.is_ipv4() && it.prefix <= 29)
        };
        if !matches!(bridge.addresses.as_slice(), [one] if one.is_empty() || leases(one)) {
            let help = "write `addresses = [\"10.9.0.1/24\"]`";
            wrong("guests want one IPv4 address to be behind, with room for leases", help);
        }
    }

    /// Somebody else who is in a network of the bridge, or on its wire where that is meant.
    fn gateway(&self, path: &str, bridge: &Bridge, own: &BTreeSet<IpAddr>) {
        let Some(gateway) = bridge.gateway else { return };
        let path = format!("{path}.gateway");
        let example = if gateway.is_ipv4() { "192.168.1.5/24" } else { "fd00::5/64" };
        if bridge.addresses.is_empty() {
            let help = format!("add `addresses = [\"{example}\"]`, or remove `gateway`");
            return self.wrong(&path, "a gateway needs a static address".into(), help);
        }
        if bridge.addresses.iter().any(String::is_empty) {
            return; // An address is reported, and the gateway may well be in its network.
        }
        if own.contains(&gateway) {
            let message = format!("{gateway} is the machine itself");
            let help = "write the address of the router, or remove `gateway`";
            return self.wrong(&path, message, help);
        }
        let is_alike = |it: &PlacedAddress| it.address.is_ipv4() == gateway.is_ipv4();
        let alike: Vec<PlacedAddress> = bridge.placed().filter(is_alike).collect();
        let Some(first) = alike.first() else {
            let family = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!("{gateway} is reached by {family}, of which there is no address");
            let help = format!("add an address such as \"{example}\", or remove `gateway`");
            return self.wrong(&path, message, help);
        };
        let networks: Vec<Cidr> = alike.iter().map(|it| it.network()).collect();
        if let Some(network) = networks.iter().find(|network| is_no_host(network, gateway)) {
            let message =
                format!("{gateway} is no machine in {network}, but its first or last address");
            self.wrong(&path, message, "write the address of the router");
        }
        let is_in_reach = networks.iter().any(|network| network.contains(gateway))
            || (gateway.is_ipv6() && is_link_local(gateway))
            || bridge.gateway_is_on_link();
        // A lease may bring the network that it is in.
        if !is_in_reach && !bridge.dhcp {
            let alone = if gateway.is_ipv4() { 32 } else { 128 };
            let message = format!("{gateway} is not in {}, and is never reached", first.network());
            let help = format!(
                "write a gateway in that network; where the hoster says that it is outside, write \
                 the address as \"{}/{alone}\"",
                first.address
            );
            self.wrong(&path, message, help);
        }
    }

    /// The address of a network itself, or its broadcast, answers nobody.
    fn name_servers(&self, path: &str, bridge: &Bridge) {
        if self.incomplete(&format!("{path}.dns")) {
            return; // One is reported, and the others no longer stand where they were written.
        }
        let networks: Vec<Cidr> = bridge.placed().map(PlacedAddress::network).collect();
        for (index, server) in bridge.dns.iter().enumerate().take(MOST_SERVERS) {
            let Some(network) = networks.iter().find(|network| is_no_host(network, *server)) else {
                continue;
            };
            let message =
                format!("{server} is no machine in {network}, but its first or last address");
            self.wrong(&format!("{path}.dns[{index}]"), message, "write that of a name server");
        }
    }

    /// An address is that of one bridge, once.
    fn addresses_twice(&self, host: &HostFile) {
        let mut seen: BTreeMap<IpAddr, String> = BTreeMap::new();
        for (name, bridge) in &host.network.bridges {
            for (index, text) in bridge.addresses.iter().enumerate() {
                let Some(placed) = PlacedAddress::parse(text) else { continue };
                let path = format!("network.bridges.{name}.addresses[{index}]");
                let is_everywhere = placed.address.is_ipv6() && is_link_local(placed.address);
                match seen.get(&placed.address) {
                    Some(_) if is_everywhere => {}
                    Some(first) => {
                        let message = format!("{} is `{first}` already", placed.address);
                        self.wrong(&path, message, "write each address once");
                    }
                    None => _ = seen.insert(placed.address, path),
                }
            }
        }
    }

    /// No two bridges have one network, and guests behind the host have none that is the LAN: the
    /// machine would look for the one where the other is. A network may lie in one that is as wide as
    /// a site: of two routes the narrower counts. It may not lie in that of guests behind the host,
    /// who would look for it among themselves, and get leases from it.
    fn networks(&self, host: &HostFile) {
        let mut taken = taken(host);
        taken.sort_by_key(|it| (it.network.address, it.network.prefix, it.bridge));
        let mut told: BTreeSet<&str> = BTreeSet::new();
        // Of networks in this order one that overlaps with any before it lies in the widest.
        let mut widest: Option<&Taken> = None;
        for it in &taken {
            let is_one = |other: &&Taken| other.is_one_with(&it.network);
            match widest.filter(is_one) {
                Some(other) if other.bridge != it.bridge => {
                    told.insert(self.network_twice(other, it));
                }
                Some(_) => {}
                None => widest = Some(it),
            }
        }
        let lan = host.network.lan_cidr;
        let is_lan = |it: &&Taken| it.nat && it.is_one_with(&lan);
        for it in taken.iter().filter(|it| !told.contains(it.path.as_str())).filter(is_lan) {
            let message = format!("its network {} is that of the LAN, {lan}", it.network);
            let help = format!("{OWN_NETWORK}; if the LAN is another, write `lan_cidr` as it is");
            self.wrong(&it.path, message, help);
        }
    }

    /// Tells of one of two networks, and says which: the guests' own can be another.
    fn network_twice<'t>(&self, one: &'t Taken, two: &'t Taken) -> &'t str {
        let is_later = (one.nat, one.bridge) > (two.nat, two.bridge);
        let (first, later) = if is_later { (two, one) } else { (one, two) };
        let message =
            format!("its network {} is that of `{}`, {}", later.network, first.path, first.network);
        let help = if later.nat { OWN_NETWORK } else { "give each bridge a network of its own" };
        self.wrong(&later.path, message, help);
        &later.path
    }
}

/// Whether the address is that of an IPv4 network itself, or its broadcast.
fn is_no_host(network: &Cidr, address: IpAddr) -> bool {
    address.is_ipv4()
        && network.prefix < 31
        && (address == network.address || address == network.last())
}

/// The networks of all bridges, but for those that every link has.
fn taken(host: &HostFile) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (position, (name, bridge)) in host.network.bridges.iter().enumerate() {
        for (index, text) in bridge.addresses.iter().enumerate() {
            let placed = PlacedAddress::parse(text);
            let Some(placed) = placed.filter(|it| !it.is_alone() && !is_link_local(it.address))
            else {
                continue;
            };
            taken.push(Taken {
                network: placed.network(),
                bridge: position,
                path: format!("network.bridges.{name}.addresses[{index}]"),
                nat: bridge.nat,
            });
        }
    }
    taken
}
