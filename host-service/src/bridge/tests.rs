use super::diff::{OUTSIDE, describe, diff};
use super::files::{bridge_files, port_network, uplinks};
use super::proof::cut_off;
use super::*;
use crate::sample;

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
fn a_nic_by_mac_does_not_match_the_bridge_that_takes_its_address() {
    let text = port_network("br0", &Nic::Mac("04:42:1a:01:02:03".into()), false);
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
fn t36_a_change_of_what_leads_outside_is_armed_first_and_proven_last() {
    let intent = other_nic();
    let resources = diff(&intent, &as_wanted(&sample::intent()));
    assert_eq!(resources[0].name, OUTSIDE);
    let wanted = [
        "arm a timer that takes the change back",
        "write /etc/systemd/network/10-bedplate-br0-port.network",
        "reload systemd-networkd",
        "keep the change once somebody outside is heard, or take it back",
    ];
    assert_eq!(titles(&resources[0]), wanted);
    // Nothing else touches those files meanwhile.
    assert!(resources[1..].iter().all(|one| one.actions.is_empty()), "{resources:?}");
}

#[test]
fn t36_a_bridge_that_is_renamed_or_withdrawn_is_a_change_too() {
    let mut intent = sample::intent();
    let bridge = intent.network.bridges.remove("br0").unwrap();
    let mut observed = as_wanted(&sample::intent());
    let gone = diff(&intent, &observed);
    assert!(matches!(gone[0].actions[0], Action::Arm { .. }), "{gone:?}");
    assert_eq!(gone.len(), 1);
    let last = |resources: &[Resource<Action>]| titles(&resources[0]).pop().unwrap();
    assert_eq!(last(&gone), "remove the bridge br0", "once the change is kept");
    intent.network.bridges.insert("br1".into(), bridge);
    let renamed = diff(&intent, &observed);
    assert!(matches!(renamed[0].actions[0], Action::Arm { .. }));
    let removed = titles(&renamed[0]).iter().filter(|title| title.starts_with("remove")).count();
    assert_eq!(removed, 5);
    let bridge = observed.bridges.get_mut("br0").unwrap();
    bridge.ports.push(Port { name: "vnet0".into(), is_hardware: false, ..nic("") });
    assert!(last(&diff(&intent, &observed)).starts_with("keep the change"), "a guest is on it");
}

#[test]
fn f10_a_withdrawn_bridge_goes_with_its_files_once_no_guest_is_on_it() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    let old = bridge_files("old", &isolated(false));
    observed.files.extend(old.iter().cloned());
    observed.applied = Some(stamp(&observed.files));
    // Cut off after the bridge went: the files tell that something is left to do.
    assert_eq!(titles(&diff(&intent, &observed)[1]).len(), 4);
    observed.bridges.insert("old".into(), ObservedBridge::default());
    let titles_now = titles(&diff(&intent, &observed)[1]);
    assert_eq!((titles_now[0].as_str(), titles_now.len()), ("remove the bridge old", 5));

    let guest = Port { name: "vnet3".into(), is_hardware: false, ..nic("") };
    observed.bridges.get_mut("old").unwrap().ports.push(guest);
    let used = &diff(&intent, &observed)[1];
    assert!(used.actions.is_empty() && used.wants[0].contains("used by vnet3"), "{used:?}");
    // What somebody else made is nobody's business here.
    observed.files.retain(|path, _| !path.contains("old"));
    assert_eq!(diff(&intent, &observed).len(), 1);
}

#[test]
fn t36_the_last_address_that_leads_outside_is_given_up_only_when_somebody_is_heard_elsewhere() {
    let kept = as_wanted(&sample::intent()).record.unwrap().kept;
    let bridges = |change: &dyn Fn(&mut BTreeMap<String, Bridge>)| {
        let mut intent = sample::intent();
        change(&mut intent.network.bridges);
        cut_off(&intent, &kept).map(|names| names.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(bridges(&|_| ()), None);
    let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    // Withdrawn, without its NIC, without an address.
    assert_eq!(bridges(&|all| all.clear()), named(&["br0"]));
    let isolated = bridges(&|all| {
        all.insert("br0".into(), isolated(true));
        all.insert("guests".into(), isolated(true));
    });
    assert_eq!(isolated, named(&["br0", "guests"]), "behind those are guests alone");
    let silent = |all: &mut BTreeMap<String, Bridge>| all.get_mut("br0").unwrap().dhcp = false;
    assert_eq!(bridges(&silent), named(&["br0"]));
    // Another uplink with an address is asked itself.
    let moved = |all: &mut BTreeMap<String, Bridge>| {
        let mut second = all["br0"].clone();
        second.nic = Some(Nic::Name("enp6s0".into()));
        (second.dhcp, second.addresses) = (false, vec!["192.168.1.5/24".into()]);
        all.insert("br1".into(), second);
        silent(all);
    };
    assert_eq!(bridges(&moved), None);
    // Where nothing had an address, nothing is lost; a static one counts as well.
    let mut intent = sample::intent();
    intent.network.bridges.get_mut("br0").unwrap().dhcp = false;
    let without: BTreeMap<_, _> = files(&intent).into_iter().collect();
    intent.network.bridges.clear();
    assert_eq!(cut_off(&intent, &uplinks(&without)), None);
    let mut intent = sample::intent();
    let bridge = intent.network.bridges.get_mut("br0").unwrap();
    (bridge.dhcp, bridge.addresses) = (false, vec!["192.168.1.5/24".into()]);
    let fixed: BTreeMap<_, _> = files(&intent).into_iter().collect();
    intent.network.bridges.clear();
    assert!(cut_off(&intent, &uplinks(&fixed)).is_some());
}

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
fn t36_a_bridge_that_is_to_lose_its_nic_is_part_of_the_trial_with_all_its_files() {
    let mut intent = sample::intent();
    intent.network.bridges.insert("br0".into(), isolated(true));
    let mut observed = as_wanted(&sample::intent());
    observed.dnsmasq = Some("/usr/sbin/dnsmasq".into());
    let resources = diff(&intent, &observed);
    let wanted = [
        "arm a timer that takes the change back",
        "write /etc/systemd/network/10-bedplate-br0.network",
        "remove /etc/systemd/network/10-bedplate-br0-port.network",
        "reload systemd-networkd",
        "keep the change once somebody outside is heard, or take it back",
    ];
    assert_eq!(titles(&resources[0]), wanted);
    // Taken back or not: what comes after touches neither its files nor the leases of the LAN.
    assert!(resources[1..].iter().all(|one| one.actions.is_empty()), "{resources:?}");
    assert!(resources[1].notes[0].contains("once the change is kept"), "{resources:?}");
    // After a boot the platform's files stand, and those that worked are put back alone.
    observed.files = files(&intent).into_iter().collect();
    observed.record.as_mut().unwrap().taken_back = Some(stamp(&BTreeMap::new()));
    let resources = diff(&intent, &observed);
    assert_eq!(resources[0].actions, [Action::TakeBack]);
    assert!(resources[1..].iter().all(|one| one.actions.is_empty()), "{resources:?}");
    // Kept, it is an isolated bridge as any other.
    observed.record.as_mut().unwrap().kept = BTreeMap::new();
    assert!(titles(&diff(&intent, &observed)[0]).contains(&"give leases on br0".to_owned()));
}

#[test]
fn t42_the_bridge_of_the_lab_gets_neither_nic_nor_address_while_there_are_copies() {
    let mut intent = sample::intent();
    let nowhere = Bridge { addresses: Vec::new(), ..isolated(false) };
    intent.network.bridges.insert("br-test".into(), nowhere);
    let mut observed = as_wanted(&intent);
    observed.bridges.insert("br-test".into(), ObservedBridge::default());
    observed.lab = Some("br-test".into());
    assert!(diff(&intent, &observed).iter().all(|one| *one == Resource::new(&one.name, vec![])));
    // Addresses, with or without NAT: this bridge alone is refused.
    let mut addressed = intent.clone();
    addressed.network.bridges.insert("br-test".into(), isolated(true));
    let resources = diff(&addressed, &observed);
    assert!(resources.iter().all(|one| one.actions.is_empty()), "{resources:?}");
    let refused = |resources: &[Resource<Action>], name: &str| {
        let one = resources.iter().find(|one| one.name == name).unwrap();
        one.refused.clone().unwrap_or_default()
    };
    assert!(refused(&resources, "br-test").contains("lab destroy"), "{resources:?}");
    assert!(refused(&resources, "br0").is_empty());
    // A NIC: it is not even tried, and where the platform wrote it at boot it is taken back.
    let bridge = intent.network.bridges.get_mut("br-test").unwrap();
    bridge.nic = Some(Nic::Name("enp6s0".into()));
    let resources = diff(&intent, &observed);
    assert!(resources.iter().all(|one| one.actions.is_empty()), "{resources:?}");
    assert!(refused(&resources, OUTSIDE).contains("copies must not reach the LAN"));
    assert!(refused(&resources, "br-test").contains("lab destroy"));
    observed.files = files(&intent).into_iter().collect();
    assert_eq!(diff(&intent, &observed)[0].actions, [Action::TakeBack]);
    // Without a lab it is a change as any other.
    observed.lab = None;
    assert!(matches!(diff(&intent, &observed)[0].actions[0], Action::Arm { .. }));
}

#[test]
fn t36_settings_that_were_taken_back_are_not_tried_again() {
    let intent = other_nic();
    let mut observed = as_wanted(&sample::intent());
    let tried: BTreeMap<_, _> = files(&intent).into_iter().collect();
    observed.record.as_mut().unwrap().taken_back = Some(stamp(&uplinks(&tried)));
    let resources = diff(&intent, &observed);
    assert!(resources[0].refused.as_deref().unwrap().contains("nobody outside was heard"));
    assert!(resources.iter().all(|one| one.actions.is_empty()));
    // The platform wrote them anew at boot.
    observed.files = tried;
    assert_eq!(diff(&intent, &observed)[0].actions, [Action::TakeBack]);
    // Others are tried.
    let mut third = other_nic();
    third.network.bridges.get_mut("br0").unwrap().dhcp = false;
    assert!(matches!(diff(&third, &observed)[0].actions[0], Action::Arm { .. }));
}

#[test]
fn f10_a_trial_that_was_cut_off_goes_on_armed() {
    let intent = other_nic();
    let mut observed = as_wanted(&sample::intent());
    observed.files = files(&intent).into_iter().collect();
    observed.applied = None;
    observed.record.as_mut().unwrap().trying = Some(stamp(&uplinks(&observed.files)));
    let actions = &diff(&intent, &observed)[0].actions;
    assert!(
        matches!(actions[..], [Action::Arm { .. }, Action::Reload, Action::Prove]),
        "{actions:?}"
    );
}

#[test]
fn the_first_settings_are_kept_with_nothing_armed() {
    let intent = sample::intent();
    let observed = Observed { record: None, ..as_wanted(&intent) };
    assert_eq!(diff(&intent, &observed)[0].actions, [Action::Prove]);
    let fresh = diff(&intent, &Observed::default());
    assert_eq!(titles(&fresh[0]).len(), 6, "{fresh:?}");
    assert!(!matches!(fresh[0].actions[0], Action::Arm { .. }));
}

#[test]
fn an_isolated_bridge_is_changed_without_a_trial() {
    let mut intent = sample::intent();
    let observed = as_wanted(&intent);
    intent.network.bridges.insert("lab0".into(), isolated(false));
    let resources = diff(&intent, &observed);
    assert_eq!(resources[0], Resource::new("br0", Vec::new()));
    assert_eq!(titles(&resources[1]).len(), 5);
    assert_eq!(resources.len(), 2);
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
fn guests_behind_the_host_get_leases_and_lose_them_when_that_is_withdrawn() {
    let mut intent = sample::intent();
    intent.network.bridges.insert("guests".into(), isolated(true));
    let mut observed = as_wanted(&intent);
    let addresses = vec!["10.9.0.1/24".into()];
    let stands = ObservedBridge { addresses, ..ObservedBridge::default() };
    observed.bridges.insert("guests".into(), stands);
    assert!(diff(&intent, &observed)[1].notes[0].contains("dnsmasq"));
    observed.dnsmasq = Some("/usr/sbin/dnsmasq".into());
    let resources = diff(&intent, &observed);
    let [Action::Lease { unit, .. }] = &resources[1].actions[..] else { panic!("{resources:?}") };
    insta::assert_snapshot!(unit);
    let network = &files(&intent).into_iter().find(|(path, _)| path.ends_with("guests.network"));
    assert!(network.as_ref().unwrap().1.contains("IPMasquerade=ipv4\n"));
    // A unit that was written and not started is started.
    observed.leases.insert("guests".into(), (unit.clone(), false));
    assert_eq!(titles(&diff(&intent, &observed)[1]), ["give leases on guests"]);
    observed.leases.insert("guests".into(), (unit.clone(), true));
    assert!(diff(&intent, &observed).iter().all(|one| one.actions.is_empty()));
    intent.network.bridges.get_mut("guests").unwrap().nat = false;
    let stop = Action::StopLeases { bridge: "guests".into() };
    assert!(diff(&intent, &observed).iter().any(|one| one.actions.contains(&stop)));
}

#[test]
fn a_bridge_that_knows_vlans_lets_all_of_them_in_by_its_nic() {
    let mut intent = sample::intent();
    intent.network.bridges.get_mut("br0").unwrap().vlan_aware = true;
    let text: String = files(&intent).into_iter().map(|(_, content)| content).collect();
    assert!(text.contains("VLANFiltering=yes\nDefaultPVID=1\n"));
    assert!(text.contains("[BridgeVLAN]\nVLAN=2-4094\n"));
}

/// A bridge that stands does not always become what its file says when networkd reads it again.
#[test]
fn a_bridge_that_stands_and_does_not_know_vlans_yet_is_not_as_intended() {
    let mut intent = sample::intent();
    intent.network.bridges.get_mut("br0").unwrap().vlan_aware = true;
    let mut observed = as_wanted(&intent);
    let again = ["reload systemd-networkd", "wait until br0 is up"];
    assert_eq!(titles(&diff(&intent, &observed)[0]), again, "on");
    assert_eq!(vlans::differing(&observed.files, &observed.bridges), [("br0", true)]);
    observed.bridges.get_mut("br0").unwrap().vlan_aware = Some(true);
    assert!(diff(&intent, &observed)[0].actions.is_empty());
    assert!(describe(&intent, &observed, "br0").unwrap().reality.ends_with("; VLANs"));
    assert!(vlans::differing(&observed.files, &observed.bridges).is_empty());

    let off = sample::intent();
    let mut observed = as_wanted(&off);
    observed.bridges.get_mut("br0").unwrap().vlan_aware = Some(true);
    assert_eq!(titles(&diff(&off, &observed)[0]), again, "off");
    assert_eq!(vlans::differing(&observed.files, &observed.bridges), [("br0", false)]);
    let why = missing(&off.network.bridges["br0"], observed.bridges.get("br0")).unwrap();
    assert_eq!(why, "it still keeps VLANs apart");
    // What is tried is not proven while the bridge does otherwise.
    observed.record = Some(Record::default());
    assert_eq!(titles(&diff(&off, &observed)[0])[0], again[0]);
}

#[test]
fn the_kernel_says_whether_a_bridge_keeps_vlans_apart() {
    let all = serde_json::json!([
        {"ifname": "br0", "linkinfo": {"info_kind": "bridge", "info_data": {"vlan_filtering": 1}}},
        {"ifname": "br1", "linkinfo": {"info_kind": "bridge", "info_data": {"vlan_filtering": 0}}},
        {"ifname": "br2", "linkinfo": {"info_kind": "bridge"}}]);
    let found: Vec<_> = links(&all).into_values().map(|bridge| bridge.vlan_aware).collect();
    assert_eq!(found, [Some(true), Some(false), None]);
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

#[test]
fn status_says_how_a_bridge_should_be_and_is() {
    let intent = sample::intent();
    let found = describe(&intent, &as_wanted(&intent), "br0").unwrap();
    assert_eq!(found.intent, "enp5s0, DHCP");
    assert_eq!(found.reality, "ports: enp5s0; addresses: 192.168.1.80/24");
}

#[test]
fn t43_a_damaged_record_of_the_network_keeps_no_isolated_bridge_from_its_place() {
    let mut intent = other_nic();
    intent.network.bridges.insert("guests".into(), isolated(true));
    let why = "network.json cannot be read; remove it".to_owned();
    let observed =
        Observed { record: None, record_trouble: Some(why), ..as_wanted(&sample::intent()) };
    let found = diff(&intent, &observed);
    let of = |name: &str| found.iter().find(|one| one.name == name).unwrap();
    assert!(of(OUTSIDE).refused.as_deref().unwrap().contains("network.json"));
    assert!(of("br0").actions.is_empty(), "it leads outside, and there is no way back");
    assert!(titles(of("guests"))[0].starts_with("write "), "{found:?}");
}

#[test]
fn t43_a_damaged_record_of_a_lab_holds_back_what_changes_and_would_lead_somewhere() {
    let mut intent = sample::intent();
    let why = "lab.json is damaged".to_owned();
    let observed = Observed { lab_trouble: Some(why), ..as_wanted(&intent) };
    let told = |intent: &HostFile| {
        let found = diff(intent, &observed);
        let refused = found.iter().filter(|one| one.refused.is_some());
        let names: Vec<_> = refused.map(|one| one.name.clone()).collect();
        (names, found)
    };
    // What stands as it was leads outside already, and needs no help.
    assert_eq!(told(&intent).0, ["lab"]);
    let mut leads = isolated(false);
    leads.addresses = vec!["10.9.0.1/24".into()];
    let nowhere = Bridge { addresses: Vec::new(), ..leads.clone() };
    intent.network.bridges.insert("leads".into(), leads);
    intent.network.bridges.insert("nowhere".into(), nowhere);
    let (names, found) = told(&intent);
    assert_eq!(names, ["leads", "lab"]);
    let why = found.iter().find_map(|one| one.refused.as_deref()).unwrap();
    assert!(why.contains("lab.json is damaged") && why.contains("has addresses"), "{why}");
    let nowhere = found.iter().find(|one| one.name == "nowhere").unwrap();
    assert!(!nowhere.actions.is_empty(), "{found:?}");
    // A trial could put the copies on the LAN.
    assert!(told(&other_nic()).0.contains(&OUTSIDE.to_owned()));
}
