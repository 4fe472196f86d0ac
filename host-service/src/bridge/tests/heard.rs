//! Who is heard outside.

use crate::bridge::heard;

#[test]
fn t36_elsewhere_is_a_link_with_an_address_that_is_no_bridge_of_ours() {
    let address = serde_json::json!([{"family": "inet", "local": "10.0.0.2", "scope": "global"}]);
    let link = |name: &str, kind: Option<&str>| {
        let mut one = serde_json::json!(
            {"ifname": name, "link_type": "ether", "addr_info": address.clone()});
        if let Some(kind) = kind {
            one["linkinfo"] = serde_json::json!({"info_kind": kind});
        }
        one
    };
    let mut all = vec![
        link("br0", Some("bridge")),
        link("enp9s0", None),
        link("wg0", Some("wireguard")),
        link("enp5s0", None),
        link("lo", None),
        link("enp7s0", None),
    ];
    all[3]["master"] = "br0".into();
    all[4]["link_type"] = "loopback".into();
    all[5]["addr_info"][0]["scope"] = "link".into();
    let found = heard::other_links(&all.into(), &["br0".to_owned()].into());
    let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.is_hardware)).collect();
    assert_eq!(found, [("enp9s0", true), ("wg0", false)]);
    let heard = |state: &str| {
        let one =
            serde_json::json!({"dst": "10.0.0.9", "lladdr": "02:00:00:00:00:09", "state": [state]});
        heard::anybody(&serde_json::json!([one]))
    };
    assert!(heard("REACHABLE") && heard("STALE"));
    assert!(!heard("FAILED") && !heard("INCOMPLETE") && !heard("PERMANENT"));
}

#[test]
fn somebody_outside_is_the_gateway_or_whoever_is_behind_the_nic() {
    let gateway = "192.168.1.1".parse().unwrap();
    let neighbour = |state: &str, mac: Option<&str>| {
        let mut one = serde_json::json!({"dst": "192.168.1.1", "state": [state]});
        if let Some(mac) = mac {
            one["lladdr"] = mac.into();
        }
        serde_json::json!([{"dst": "192.168.1.9", "lladdr": "02:00:00:00:00:09", "state": ["REACHABLE"]}, one])
    };
    assert!(heard::answered(&neighbour("REACHABLE", Some("02:00:00:00:00:01")), gateway));
    assert!(!heard::answered(&neighbour("INCOMPLETE", None), gateway));
    assert!(!heard::answered(&neighbour("FAILED", Some("02:00:00:00:00:01")), gateway));
    assert!(!heard::answered(&serde_json::json!([]), gateway));
    let routes = serde_json::json!([{"dst": "default", "gateway": "192.168.1.1", "dev": "br0"}]);
    assert_eq!(heard::gateway(&routes), Some(gateway));
    let learned = serde_json::json!([
        {"mac": "52:54:00:00:00:01", "ifname": "enp5s0", "flags": [], "master": "br0", "state": "permanent"},
        {"mac": "02:00:00:00:00:07", "ifname": "vnet0", "flags": [], "master": "br0", "state": ""}]);
    assert!(!heard::behind(&learned, "enp5s0"), "a guest is not outside");
    let mut more = learned.clone();
    more[1]["ifname"] = "enp5s0".into();
    assert!(heard::behind(&more, "enp5s0"));
}
