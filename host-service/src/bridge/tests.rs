mod guests;
mod heard;
mod lab;
mod trial;

use super::diff::{OUTSIDE, describe, diff};
use super::files::{bridge_files, port_network, uplinks};
use super::*;
use bedplate_sample as sample;

fn titles(resource: &Resource<Action>) -> Vec<String> {
    resource.actions.iter().map(ToString::to_string).collect()
}

/// The sample with its NIC changed.
fn other_nic() -> HostFile {
    let mut intent = sample::intent();
    intent.network.bridges.get_mut("br0").unwrap().nic = Some(Nic::Name("enp9s9".into()));
    intent
}

fn nic(name: &str) -> Port {
    Port { name: name.into(), mac: "52:54:00:00:00:01".into(), is_hardware: true }
}

fn as_wanted(intent: &HostFile) -> Observed {
    let ports = vec![nic("enp5s0")];
    let (addresses, vlan_aware) = (vec!["192.168.1.80/24".into()], Some(false));
    let bridge = ObservedBridge { ports, addresses, vlan_aware };
    let files: BTreeMap<_, _> = files(intent).into_iter().collect();
    let record = Record { kept: uplinks(&files), ..Record::default() };
    Observed {
        applied: Some(stamp(&files)),
        files,
        bridges: [("br0".to_owned(), bridge)].into(),
        record: Some(record),
        ..Observed::default()
    }
}

fn isolated(nat: bool) -> Bridge {
    Bridge {
        nic: None,
        dhcp: false,
        addresses: vec!["10.9.0.1/24".into()],
        gateway: None,
        dns: Vec::new(),
        vlan_aware: false,
        nat,
    }
}

#[test]
fn a_bridge_over_a_nic_with_a_lease() {
    let text: String =
        files(&sample::intent()).iter().map(|(path, text)| format!("# {path}\n{text}\n")).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn an_isolated_bridge_with_an_address() {
    let mut intent = sample::intent();
    let bridge = Bridge {
        nic: None,
        dhcp: false,
        addresses: vec!["10.9.0.1/24".into()],
        gateway: None,
        dns: Vec::new(),
        vlan_aware: false,
        nat: false,
    };
    intent.network.bridges = [("lab0".to_owned(), bridge)].into();
    let text: String =
        files(&intent).iter().map(|(path, text)| format!("# {path}\n{text}\n")).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn t58_only_a_gateway_outside_that_is_meant_is_written_as_on_link() {
    let mut bridge = isolated(false);
    bridge.nic = Some(Nic::Name("enp5s0".into()));
    bridge.dns = vec!["192.0.2.53".parse().unwrap()];
    bridge.gateway = Some("192.0.2.1".parse().unwrap());
    let written = |addresses: &str, bridge: &Bridge| {
        let bridge = Bridge { addresses: vec![addresses.into()], ..bridge.clone() };
        let (_, text) = bridge_files("br0", &bridge).into_iter().nth(2).unwrap();
        text
    };
    let outside = written("203.0.113.5/32", &bridge);
    assert!(outside.ends_with(
        "Address=203.0.113.5/32\nDNS=192.0.2.53\n\n[Route]\nGateway=192.0.2.1\nGatewayOnLink=yes\n"
    ));
    let inside = written("192.0.2.5/24", &bridge);
    assert!(inside.ends_with("Address=192.0.2.5/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n"));
}

#[test]
fn a_nic_by_mac_does_not_match_the_bridge_that_takes_its_address() {
    let text = port_network("br0", &Nic::Mac("04:42:1a:01:02:03".parse().unwrap()), false);
    assert!(text.contains("MACAddress=04:42:1a:01:02:03\nType=ether\nKind=!*\n"), "{text}");
}

#[test]
fn nothing_is_done_about_a_bridge_that_is_as_intended() {
    let intent = sample::intent();
    let resources = diff(&intent, &as_wanted(&intent));
    assert_eq!(resources, [Resource::new("br0", Vec::new())]);
}

#[test]
fn a_changed_file_is_written_and_a_withdrawn_one_removed() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.files.insert("systemd/network/10-bedplate-br0.link".into(), "x".into());
    observed.files.insert("systemd/network/10-bedplate-old.netdev".into(), "x".into());
    let resources = diff(&intent, &observed);
    assert_eq!(
        titles(&resources[0]),
        [
            "write /etc/systemd/network/10-bedplate-br0.link",
            "reload systemd-networkd",
            "wait until br0 is up"
        ]
    );
    assert_eq!(
        titles(&resources[1]),
        ["remove /etc/systemd/network/10-bedplate-old.netdev", "reload systemd-networkd"]
    );
}

#[test]
fn links_of_ip_are_understood() {
    let all = serde_json::json!([
        {"ifname": "enp5s0", "address": "52:54:00:00:00:01", "master": "br0", "addr_info": []},
        {"ifname": "br0", "address": "52:54:00:00:00:01",
         "linkinfo": {"info_kind": "bridge", "info_data": {"vlan_filtering": 0}},
         "addr_info": [
            {"family": "inet", "local": "192.168.1.80", "prefixlen": 24, "scope": "global"},
            {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]}
    ]);
    let intent = sample::intent();
    assert_eq!(links(&all), as_wanted(&intent).bridges);
    assert_eq!(missing(&intent.network.bridges["br0"], links(&all).get("br0")), None);
    assert!(missing(&intent.network.bridges["br0"], None).is_some());
}

#[test]
fn f10_files_that_networkd_never_read_are_read() {
    let intent = sample::intent();
    let observed = Observed { applied: None, ..as_wanted(&intent) };
    assert_eq!(diff(&intent, &observed)[0].actions[0], Action::Reload);
}

#[test]
fn an_address_of_version_6_is_no_lease() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    let bridge = observed.bridges.get_mut("br0").unwrap();
    bridge.addresses = vec!["fec0::1/64".into()];
    assert_eq!(diff(&intent, &observed)[0].actions, [Action::Await { bridge: "br0".into() }]);
}

#[test]
fn an_address_of_version_6_counts_however_it_is_written() {
    let mut bridge = isolated(false);
    let addresses = vec!["fd00::1/64".into(), "10.9.0.1/24".into()];
    let stands = ObservedBridge { addresses, ..ObservedBridge::default() };
    for (written, has) in [
        ("FD00::1/64", true),
        ("fd00:0:0:0:0:0:0:1/64", true),
        ("fd00::01/064", true),
        ("fd00::1/48", false),
        ("fd00::2/64", false),
        ("10.9.0.1/24", true),
        ("10.9.0.1/16", false),
    ] {
        bridge.addresses = vec![written.into()];
        assert_eq!(missing(&bridge, Some(&stands)).is_none(), has, "{written}");
    }
}

#[test]
fn status_says_how_a_bridge_should_be_and_is() {
    let intent = sample::intent();
    let found = describe(&intent, &as_wanted(&intent), "br0").unwrap();
    assert_eq!(found.intent, "enp5s0, DHCP");
    assert_eq!(found.reality, "ports: enp5s0; addresses: 192.168.1.80/24");
}
