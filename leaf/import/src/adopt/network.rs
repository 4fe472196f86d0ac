//! Bridges, with their addresses and what they stand on.

use std::net::IpAddr;

use bedplate_yaml::Node;
use toml_edit::{Array, Key, Value};

use super::Writer;
use crate::note::quote;
use crate::scalar;
use crate::tree;

/// Prefixes of bridges that programs make for themselves.
const OF_PROGRAMS: [&str; 4] = ["virbr", "docker", "br-", "lxcbr"];

impl Writer<'_> {
    pub(super) fn network(&mut self) {
        let Ok(links) = tree(self.machine.links) else {
            return self.open(
                "network",
                "`ip -details -json address show` does not say how it is; write `[network]`",
            );
        };
        let routes = tree(self.machine.routes).ok();
        let routes = routes.as_ref().map(Node::items).unwrap_or_default();
        let bridges = links.items().iter().filter(|link| kind(link) == Some("bridge"));
        let (mut lan, mut has_bridge, mut text) = (None, false, String::new());
        for bridge in bridges {
            let name = field(bridge, "ifname").unwrap_or_default();
            if is_of_program(name) {
                self.tell(
                    "network.bridges",
                    format!(
                        "{} is a bridge that a program makes for itself; left out",
                        quote(name)
                    ),
                );
                continue;
            }
            has_bridge = true;
            let port = |nic: &&String| {
                links.items().iter().any(|link| {
                    field(link, "ifname") == Some(nic) && field(link, "master") == Some(name)
                })
            };
            let ports: Vec<_> = self.machine.nics.iter().filter(port).cloned().collect();
            text += &self.bridge(name, bridge, &ports, routes);
            lan = lan.or(network_of(bridge));
        }
        if !has_bridge {
            text += &self.without_bridge(&links, routes, &mut lan);
        }
        self.text += "[network]\n";
        if let Some(lan) = lan {
            self.text += &format!("lan_cidr = {}\n", Value::from(lan));
        }
        self.text += &format!("\n{text}");
    }

    fn bridge(&mut self, name: &str, link: &Node, ports: &[String], routes: &[Node]) -> String {
        let about = format!("network.bridges.{name}");
        let mut text = format!("[network.bridges.{}]\n", Key::new(name));
        if let Some(nic) = ports.first() {
            text += &format!("nic = {}\n", Value::from(nic.as_str()));
        }
        for other in ports.iter().skip(1) {
            self.open(
                &about,
                format!(
                    "it stands on {}, too, and by host.toml on one NIC; left out",
                    quote(other)
                ),
            );
        }
        let has_vlans = link.get("linkinfo").and_then(|info| info.get("info_data"));
        if has_vlans.and_then(|data| field(data, "vlan_filtering")) == Some("1") {
            text += "vlan_aware = true\n";
        }
        text + &self.addresses(name, link, !ports.is_empty(), routes)
    }

    /// A lease is asked for again; what does not come by one is written.
    fn addresses(&mut self, name: &str, link: &Node, has_nic: bool, routes: &[Node]) -> String {
        let is_global = |address: &&Node| field(address, "scope") == Some("global");
        let is_leased = |address: &&Node| {
            address.get("dynamic").and_then(Node::text).and_then(scalar::switch) == Some(true)
        };
        let all =
            link.get("addr_info").map(Node::items).unwrap_or_default().iter().filter(is_global);
        let all: Vec<&Node> = all.collect();
        let of = |address: &Node| {
            Some(format!("{}/{}", field(address, "local")?, field(address, "prefixlen")?))
        };
        let addresses: Array =
            all.iter().filter(|it| !is_leased(it)).filter_map(|it| of(it)).collect();
        let has_lease = all.iter().any(|it| is_leased(it) && field(it, "family") == Some("inet"));
        let mut text = String::new();
        if has_lease && has_nic && !addresses.is_empty() {
            text += "dhcp = true\n";
        }
        if addresses.is_empty() {
            // With a NIC and nothing else, a lease is what is meant.
            if has_nic && !has_lease {
                text += "dhcp = false\n";
            }
            return text + "\n";
        }
        text += &format!("addresses = {addresses}\n");
        let mut gateways = routes.iter().filter(|route| field(route, "dev") == Some(name));
        if let Some(gateway) =
            gateways.find_map(|route| field(route, "gateway")).filter(|_| !has_lease)
        {
            text += &format!("gateway = {}\n", Value::from(gateway));
            let servers: Array = servers(self.machine.resolvers).collect();
            if servers.is_empty() {
                let message = "no name server is found outside this machine; write `dns`";
                self.open(&format!("network.bridges.{name}.dns"), message);
            } else {
                text += &format!("dns = {servers}\n");
            }
        }
        text + "\n"
    }

    /// Guests stand on a bridge: one takes over what the NIC has that leads outside.
    fn without_bridge(
        &mut self,
        links: &Node,
        routes: &[Node],
        lan: &mut Option<String>,
    ) -> String {
        let outside = routes.iter().find_map(|route| field(route, "dev"));
        let nic = outside.filter(|dev| self.machine.nics.iter().any(|nic| nic == dev));
        let link = links.items().iter().find(|link| field(link, "ifname") == nic);
        let (Some(nic), Some(link)) = (nic, link) else {
            self.open(
                "network.bridges",
                "no bridge is found, and no NIC that leads outside; write `[network.bridges.br0]`",
            );
            return String::new();
        };
        let message = format!(
            "there is no bridge: `br0` takes over what {} has, and converge changes that",
            quote(nic)
        );
        self.open("network.bridges.br0", message);
        *lan = network_of(link);
        let nic_line = format!("[network.bridges.br0]\nnic = {}\n", Value::from(nic));
        nic_line + &self.addresses(nic, link, true, routes)
    }
}

fn is_of_program(name: &str) -> bool {
    OF_PROGRAMS.iter().any(|prefix| {
        let rest = name.strip_prefix(prefix);
        let is_hash =
            |rest: &str| rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        rest.is_some_and(|rest| *prefix != "br-" || is_hash(rest))
    })
}

fn field<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

fn kind(link: &Node) -> Option<&str> {
    link.get("linkinfo").and_then(|info| field(info, "info_kind"))
}

/// The network of its first address of version 4.
fn network_of(link: &Node) -> Option<String> {
    let addresses = link.get("addr_info").map(Node::items).unwrap_or_default();
    addresses.iter().find_map(|address| {
        let is_global = field(address, "scope") == Some("global");
        let IpAddr::V4(own) = field(address, "local").filter(|_| is_global)?.parse().ok()? else {
            return None;
        };
        let prefix: u32 =
            field(address, "prefixlen")?.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
        let network = u32::from(own) & (u32::MAX << (32 - prefix));
        Some(format!("{}/{prefix}", std::net::Ipv4Addr::from(network)))
    })
}

/// Name servers outside the machine.
fn servers(resolvers: &str) -> impl Iterator<Item = String> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok();
    let outside = resolvers.lines().filter_map(server).filter(|server| !server.is_loopback());
    outside.map(|server| server.to_string())
}
