use super::super::accelerator::Accelerator;
use super::*;
use crate::mounts::Mounts;
use crate::sample;

fn hash(intent: &HostFile) -> String {
    let directory = Path::new("/mnt/vmstore/haos");
    let software = Accelerator::Software;
    domain::define(intent, "haos", &intent.vms["haos"], directory, software).unwrap().intent
}

fn as_wanted(intent: &HostFile) -> Observed {
    let intent = hash(intent);
    let domain =
        DomainFound { intent: Some(intent.clone()), running: Some(Some(intent)), autostart: true };
    let files =
        FilesFound { directory: true, disk_bytes: Some(32 * GIB), iso: false, started: true };
    Observed {
        mounts: sample::mounts(),
        domains: [("haos".to_owned(), domain)].into(),
        files: [("haos".to_owned(), files)].into(),
        ..Observed::default()
    }
}

fn titles(intent: &HostFile, observed: &Observed) -> Vec<String> {
    let resources = diff(intent, observed);
    resources.iter().flat_map(|one| &one.actions).map(ToString::to_string).collect()
}

#[test]
fn nothing_is_done_about_a_machine_that_is_as_intended() {
    let intent = sample::intent();
    assert_eq!(diff(&intent, &as_wanted(&intent)), [Resource::new("haos", Vec::new())]);
}

#[test]
fn a_machine_is_made_from_nothing() {
    let observed = Observed { mounts: sample::mounts(), ..Observed::default() };
    insta::assert_json_snapshot!(diff(&sample::intent(), &observed));
}

#[test]
fn a_running_machine_is_redefined_and_never_restarted() {
    let mut intent = sample::intent();
    let observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().ram_mb = 8192;
    let resources = diff(&intent, &observed);
    assert!(matches!(resources[0].actions[..], [Action::Define { .. }]), "{resources:?}");
    assert!(resources[0].notes[0].contains("until it is restarted"));
}

#[test]
fn a_machine_that_its_owner_shut_down_stays_down() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.domains.get_mut("haos").unwrap().running = None;
    assert!(titles(&intent, &observed).is_empty());
    observed.files.get_mut("haos").unwrap().started = false;
    assert_eq!(titles(&intent, &observed), ["start haos"]);
}

#[test]
fn a_disk_only_grows() {
    let mut intent = sample::intent();
    let observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().disk_gb = Some(16);
    assert!(titles(&intent, &observed).is_empty());
    intent.vms.get_mut("haos").unwrap().disk_gb = Some(64);
    assert_eq!(titles(&intent, &observed), ["enlarge the disk of haos to 64 GiB"]);
}

#[test]
fn an_absent_machine_goes_and_a_second_run_finds_nothing() {
    let mut intent = sample::intent();
    let observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().state = State::Absent;
    let wanted = ["turn haos off", "undefine haos", "delete the directory of haos"];
    assert_eq!(titles(&intent, &observed), wanted);
    let gone = Observed { mounts: sample::mounts(), ..Observed::default() };
    assert!(titles(&intent, &gone).is_empty());
}

#[test]
fn t39_nothing_is_done_while_the_pool_is_not_mounted() {
    let mut intent = sample::intent();
    let observed = Observed { mounts: Mounts::default(), ..as_wanted(&intent) };
    for state in [State::Present, State::Absent] {
        intent.vms.get_mut("haos").unwrap().state = state;
        let resources = diff(&intent, &observed);
        assert!(resources[0].refused.as_deref().unwrap().contains("not mounted"));
        assert!(resources[0].actions.is_empty());
    }
}

#[test]
fn a_domain_that_is_not_ours_is_not_touched() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.domains.get_mut("haos").unwrap().intent = None;
    for state in [State::Present, State::Absent] {
        intent.vms.get_mut("haos").unwrap().state = state;
        assert!(diff(&intent, &observed)[0].refused.is_some());
    }
}

#[test]
fn a_machine_no_longer_declared_is_named_and_left_alone() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    let old = DomainFound { intent: Some("ab".into()), ..DomainFound::default() };
    observed.domains.insert("old".into(), old);
    observed.domains.insert("foreign".into(), DomainFound::default());
    let resources = diff(&intent, &observed);
    assert_eq!(resources.len(), 2);
    assert_eq!((resources[1].name.as_str(), resources[1].actions.len()), ("old", 0));
    assert!(resources[1].notes[0].contains("left alone"));
}

#[test]
fn t35_the_key_stick_is_handed_to_no_guest() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.stick_devices = vec![("1a86".into(), "7523".into())];
    assert!(diff(&intent, &observed)[0].refused.as_deref().unwrap().contains("key stick"));
}

#[test]
fn t38_two_machines_on_one_disk_are_refused() {
    let mut intent = sample::intent();
    let twin = intent.vms["haos"].clone();
    intent.vms.insert("twin".into(), twin);
    let observed = as_wanted(&intent);
    assert!(diff(&intent, &observed).iter().all(|one| one.refused.is_some()));
}
