//! Who reaches the ports of NFS: the clients of the exports, and nobody else.
//!
//! Every other port is as it was. The kernel asks for the client once more, export by export; this
//! keeps everybody else from the server itself. Written in nftables' language (nft(8)).

mod loaded;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use bedplate_model::host::{Cidr, HostFile};

pub use loaded::compared;

/// Under `/etc`.
pub const FILE: &str = "bedplate/firewall.nft";
/// Under `/etc`.
pub const NFS_FILE: &str = "nfs.conf.d/bedplate.conf";

/// NFS 4 needs this port alone.
const NFS: u16 = 2049;
/// What NFS 3 needs besides: the port mapper, and the ports that [`nfs_conf`] gives its helpers.
const V3: [u16; 4] = [111, MOUNTD, STATD, LOCKD];
const MOUNTD: u16 = 20048;
const STATD: u16 = 32765;
const LOCKD: u16 = 32803;

/// The protocols whose ports are guarded.
const FILTER_PORTS: [&str; 2] = ["tcp", "udp"];

/// One rule; one that names neither a client nor ports is of this machine's own traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// Who it is about; none for everybody.
    from: Option<Cidr>,
    /// Protocol and ports.
    ports: Option<(&'static str, Vec<u16>)>,
    /// Whether they are let in.
    accept: bool,
}

/// The rules, in order.
fn rule_list(host: &HostFile) -> Vec<Rule> {
    let clients: BTreeSet<Cidr> =
        host.nfs.exports.iter().flat_map(|export| export.clients.iter().copied()).collect();
    let all = [&[NFS], V3.as_slice()].concat();
    let open = if host.nfs.v3 { all.clone() } else { vec![NFS] };
    let protocols = if host.nfs.v3 { &FILTER_PORTS[..] } else { &FILTER_PORTS[..1] };
    let mut rules = vec![Rule { from: None, ports: None, accept: true }];
    for client in clients {
        rules.extend(protocols.iter().map(|protocol| Rule {
            from: Some(client),
            ports: Some((protocol, open.clone())),
            accept: true,
        }));
    }
    let closed =
        |protocol| Rule { from: None, ports: Some((protocol, all.clone())), accept: false };
    rules.extend(FILTER_PORTS.into_iter().map(closed));
    rules
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((protocol, ports)) = &self.ports else {
            return formatter.write_str("iifname \"lo\" accept");
        };
        if let Some(client) = &self.from {
            let family = if client.address.is_ipv4() { "ip" } else { "ip6" };
            write!(formatter, "{family} saddr {client} ")?;
        }
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let verdict = if self.accept { "accept" } else { "drop" };
        write!(formatter, "{protocol} dport {{ {} }} {verdict}", ports.join(", "))
    }
}

/// The rules. Loaded again they replace themselves; at no moment is there none.
pub fn rules(host: &HostFile) -> String {
    let mut text = "# Written from /etc/bedplate/host.toml.\ntable inet bedplate\ndelete table inet bedplate\n\
                    table inet bedplate {\n\tchain input {\n\
                    \t\ttype filter hook input priority filter; policy accept;\n"
        .to_owned();
    for rule in rule_list(host) {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n}\n");
    text
}

/// What the server is told (nfs.conf(5)): which versions it speaks, and at which ports its helpers are.
pub fn nfs_conf(host: &HostFile) -> String {
    let v3 = if host.nfs.v3 { "y" } else { "n" };
    format!(
        "[nfsd]\nvers3={v3}\nvers4=y\n\n[mountd]\nport={MOUNTD}\n\n[statd]\nport={STATD}\n\n\
         [lockd]\nport={LOCKD}\nudp-port={LOCKD}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::loaded::{LoadedRules, judge};
    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn t37_the_ports_of_nfs_are_open_for_the_clients_of_exports_alone() {
        let mut host = sample::intent();
        insta::assert_snapshot!("version_4", rules(&host) + &nfs_conf(&host));
        host.nfs.v3 = true;
        host.nfs.exports[0].clients = vec!["fd00::/64".to_owned().try_into().unwrap()];
        insta::assert_snapshot!("version_3", rules(&host) + &nfs_conf(&host));
    }

    #[test]
    fn t37_the_module_of_nixos_gives_the_helpers_the_ports_that_the_rules_name() {
        let told = include_str!("../../nix/nixos/nfs-ports.nix");
        for (name, port) in [("mountd", MOUNTD), ("statd", STATD), ("lockd", LOCKD)] {
            assert!(told.contains(&format!("{name}Port = {port};")), "{name}");
        }
    }

    #[test]
    fn t37_without_exports_nobody_reaches_them() {
        let mut host = sample::intent();
        host.nfs.exports.clear();
        assert_eq!(rules(&host).matches("accept\n").count(), 1, "{}", rules(&host));
        assert!(rules(&host).contains("tcp dport { 2049, 111, 20048, 32765, 32803 } drop"));
    }

    /// What the kernel says of the rules once they are loaded, by `nft` 1.0.6.
    fn in_kernel() -> serde_json::Value {
        serde_json::from_str(include_str!("firewall/version_4.json")).unwrap()
    }

    fn judged(
        host: &HostFile,
        table: Option<serde_json::Value>,
    ) -> bedplate_resources::status::Status {
        judge(host, &LoadedRules::Table(table), Some(&rules(host)))
    }

    #[test]
    fn t37_rules_that_the_kernel_has_not_are_told_of() {
        let host = sample::intent();
        let loaded = judged(&host, Some(in_kernel()));
        assert!(loaded.agrees, "{loaded:?}");
        let flushed = judged(&host, None);
        assert_eq!(flushed.standing().exit_code(), 4);
        assert!(flushed.wants[0].contains("systemctl reload-or-restart bedplate-firewall.service"));
        for lost in 2..in_kernel()["nftables"].as_array().unwrap().len() {
            let mut table = in_kernel();
            table["nftables"].as_array_mut().unwrap().remove(lost);
            assert!(!judged(&host, Some(table)).agrees, "rule {lost} is not missed");
        }
        // The same rules in another order let nobody in.
        let mut table = in_kernel();
        table["nftables"].as_array_mut().unwrap()[3..].reverse();
        assert!(!judged(&host, Some(table)).agrees);

        // What is let in for this machine alone, let in for everybody.
        let mut table = in_kernel();
        table["nftables"][3]["rule"]["expr"] = serde_json::json!([{"accept": null}]);
        assert!(!judged(&host, Some(table)).agrees);

        let mut other = host.clone();
        other.nfs.exports[0].clients = vec!["10.0.0.7/32".to_owned().try_into().unwrap()];
        let stale = judge(&other, &LoadedRules::Table(Some(in_kernel())), Some(&rules(&host)));
        assert!(stale.wants[0].contains("of another host.toml"), "{stale:?}");
        let on_nixos = judge(&host, &LoadedRules::Unit(false), None);
        assert!(
            !on_nixos.agrees && on_nixos.wants[0].contains("systemctl reload-or-restart"),
            "{on_nixos:?}"
        );
        assert!(judge(&host, &LoadedRules::Unit(true), None).agrees);
    }

    #[test]
    fn version_3_and_single_addresses_are_understood_as_the_kernel_says_them() {
        let mut host = sample::intent();
        host.nfs.v3 = true;
        host.nfs.exports[0].clients = vec!["fd00::/64".to_owned().try_into().unwrap()];
        host.nfs.exports[1].clients = vec!["192.168.1.7/32".to_owned().try_into().unwrap()];
        let table = serde_json::from_str(include_str!("firewall/version_3.json")).unwrap();
        let loaded = judged(&host, Some(table));
        assert!(loaded.agrees, "{loaded:?}");
    }
}
