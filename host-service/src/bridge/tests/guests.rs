//! What guests stand on: bridges that are withdrawn, leases, VLANs.

use super::*;
use crate::bridge::files::bridge_files;

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
