//! Changes of what leads outside: armed, tried, kept or taken back.

use super::*;
use crate::bridge::proof::cut_off;

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
