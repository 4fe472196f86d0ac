//! Bridges beside a lab.

use super::*;

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
