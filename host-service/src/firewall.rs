//! Who reaches the ports of NFS: the clients of the exports, and nobody else.
//!
//! Every other port is as it was. The kernel asks for the client once more, export by export; this
//! keeps everybody else from the server itself. Written in nftables' language (nft(8)).

use std::fmt::Write as _;

use bedplate_spec::host::{Cidr, HostFile};

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

/// The rules. Loaded again they replace themselves; at no moment is there none.
pub fn rules(host: &HostFile) -> String {
    let mut clients: Vec<Cidr> =
        host.nfs.exports.iter().flat_map(|export| export.clients.iter().copied()).collect();
    clients.sort_unstable();
    clients.dedup();
    let all = ports(&[&[NFS], V3.as_slice()].concat());
    let open = if host.nfs.v3 { all.clone() } else { ports(&[NFS]) };
    let mut text = "# Written from /etc/bedplate/host.toml.\ntable inet bedplate\ndelete table inet bedplate\n\
                    table inet bedplate {\n\tchain input {\n\
                    \t\ttype filter hook input priority filter; policy accept;\n\
                    \t\tiifname \"lo\" accept\n"
        .to_owned();
    for client in clients {
        let family = if client.address.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(text, "\t\t{family} saddr {client} tcp dport {open} accept");
        if host.nfs.v3 {
            let _ = writeln!(text, "\t\t{family} saddr {client} udp dport {open} accept");
        }
    }
    let _ = write!(text, "\t\ttcp dport {all} drop\n\t\tudp dport {all} drop\n\t}}\n}}\n");
    text
}

fn ports(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("{{ {} }}", ports.join(", "))
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
    use super::*;
    use crate::sample;

    #[test]
    fn t37_the_ports_of_nfs_are_open_for_the_clients_of_exports_alone() {
        let mut host = sample::intent();
        insta::assert_snapshot!("version_4", rules(&host) + &nfs_conf(&host));
        host.nfs.v3 = true;
        host.nfs.exports[0].clients = vec!["fd00::/64".to_owned().try_into().unwrap()];
        insta::assert_snapshot!("version_3", rules(&host) + &nfs_conf(&host));
    }

    #[test]
    fn t37_without_exports_nobody_reaches_them() {
        let mut host = sample::intent();
        host.nfs.exports.clear();
        assert_eq!(rules(&host).matches("accept\n").count(), 1, "{}", rules(&host));
        assert!(rules(&host).contains("tcp dport { 2049, 111, 20048, 32765, 32803 } drop"));
    }
}
