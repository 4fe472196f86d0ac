//! What leads to a wire: NICs, and what is made of them. Guests and containers stand behind others.

use serde_json::Value;

/// VLANs stand on what they are of, and nobody nests more of them (802.1Q in 802.1ad).
const NESTED: usize = 2;

/// Whether one of `all` links is a NIC, NICs bound together, or a VLAN of such.
pub(super) fn is_hardware(all: &[Value], link: &Value) -> bool {
    let mut link = link;
    for _ in 0..=NESTED {
        match link["linkinfo"]["info_kind"].as_str() {
            None | Some("bond" | "team") => return true,
            Some("vlan") => {}
            Some(_) => return false,
        }
        // None: its NIC is another namespace's.
        let Some(under) = all.iter().find(|other| other["ifname"] == link["link"]) else {
            return false;
        };
        link = under;
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bond_and_its_vlans_are_hardware_and_what_guests_stand_on_is_none() {
        let kind =
            |name: &str, kind: &str| json!({"ifname": name, "linkinfo": {"info_kind": kind}});
        let over = |name: &str, under: &str| {
            let mut vlan = kind(name, "vlan");
            vlan["link"] = under.into();
            vlan
        };
        let all = [
            json!({"ifname": "enp1s0"}),
            kind("bond0", "bond"),
            over("bond0.7", "bond0"),
            over("enp1s0.8", "enp1s0"),
            over("inner", "enp1s0.8"),
            kind("vnet0", "tun"),
            kind("veth0", "veth"),
            kind("br0", "bridge"),
            over("br0.9", "br0"),
            over("lost", "nowhere"),
            over("itself", "itself"),
        ];
        let found = all.iter().filter(|link| is_hardware(&all, link));
        let found: Vec<_> = found.map(|link| link["ifname"].as_str().unwrap()).collect();
        assert_eq!(found, ["enp1s0", "bond0", "bond0.7", "enp1s0.8", "inner"]);
    }
}
