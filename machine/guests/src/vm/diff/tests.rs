use bedplate_libvirt::{Off, State as Standing};

use super::super::accelerator::Accelerator;
use super::super::model::Model;
use super::*;
use bedplate_sample as sample;
use bedplate_tools::mounts::Mounts;

fn hash(intent: &HostFile) -> String {
    let directory = Path::new("/mnt/vmstore/haos");
    let software = Accelerator::Software;
    domain::define(intent, "haos", &intent.vms["haos"], directory, software).unwrap().intent
}

fn as_wanted(intent: &HostFile) -> Observed {
    let intent = hash(intent);
    let domain = DomainFound {
        intent: Some(intent.clone()),
        running: Some(Some(intent)),
        autostart: true,
        ..DomainFound::default()
    };
    let files = FilesFound {
        directory: true,
        disk_bytes: Some(32 * GIB),
        started: true,
        ..FilesFound::default()
    };
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
    assert!(resources[0].wants[0].contains("bedplate-host vm restart haos"));
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
fn t38_a_defined_machine_whose_disk_is_gone_gets_no_new_one_in_its_place() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.files.insert("haos".into(), FilesFound::default());
    let refused = |intent: &HostFile, observed: &Observed| {
        let resource = diff(intent, observed).remove(0);
        assert!(resource.actions.is_empty(), "{resource:?}");
        resource.refused.unwrap()
    };
    let why = refused(&intent, &observed);
    assert!(why.contains("/mnt/vmstore/haos/haos.qcow2 is not there"), "{why}");
    assert!(why.contains("it still runs") && why.contains("virsh undefine"), "{why}");
    observed.domains.get_mut("haos").unwrap().running = None;
    assert!(!refused(&intent, &observed).contains("it still runs"));
    // Nothing is to be found at the new place after `pool` or `dest` was changed.
    let vm = intent.vms.get_mut("haos").unwrap();
    vm.pool = "bulk".parse().unwrap();
    vm.disk_image.as_mut().unwrap().dest = "/mnt/bulk/haos/haos.qcow2".into();
    assert!(refused(&intent, &observed).contains("/mnt/bulk/haos/haos.qcow2"));
    // So it is for an empty disk, and once it is undefined it begins anew.
    intent.vms.get_mut("haos").unwrap().disk_image = None;
    assert!(refused(&intent, &observed).contains("/mnt/bulk/haos/disk.qcow2"));
    observed.domains.clear();
    let titles = titles(&intent, &observed);
    assert!(titles.contains(&"make an empty disk of 32 GiB for haos".to_owned()), "{titles:?}");
}

#[test]
fn t38_a_disk_that_is_to_be_there_is_never_made_nor_shared() {
    let mut intent = sample::intent();
    let vm = intent.vms.get_mut("haos").unwrap();
    vm.disk_image = None;
    vm.existing_disk = Some("old.qcow2".into());
    let mut observed = Observed { mounts: sample::mounts(), ..Observed::default() };
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty(), "{resource:?}");
    let why = resource.refused.unwrap();
    assert!(why.contains("/mnt/vmstore/haos/old.qcow2 is there, and it is not"), "{why}");
    assert!(why.contains("make /mnt/vmstore/haos and put"), "{why}");

    let there = FilesFound { directory: true, disk_bytes: Some(32 * GIB), ..FilesFound::default() };
    observed.files.insert("haos".into(), there);
    let resource = diff(&intent, &observed).remove(0);
    assert_eq!(resource.refused, None);
    let titles: Vec<_> = resource.actions.iter().map(ToString::to_string).collect();
    assert!(titles[0].starts_with("define haos"), "{titles:?}");
    assert!(!titles.iter().any(|title| title.contains("fetch") || title.contains("make")));

    let xml = "<domain><devices><disk><source file='/mnt/vmstore/haos/old.qcow2'/></disk></devices></domain>";
    let other = DomainFound { held: Some(Model::parse(xml).unwrap()), ..DomainFound::default() };
    observed.domains.insert("old".into(), other);
    let why = diff(&intent, &observed).remove(0).refused.unwrap();
    assert!(why.contains("that of the machine old of libvirt"), "{why}");
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
    intent.vms.insert("twin".parse().unwrap(), twin);
    let observed = as_wanted(&intent);
    assert!(diff(&intent, &observed).iter().all(|one| one.refused.is_some()));
}

#[test]
fn a_disk_that_cannot_be_read_is_told_of_its_machine_alone() {
    let mut intent = sample::intent();
    let mut twin = intent.vms["haos"].clone();
    twin.disk_image.as_mut().unwrap().dest = "/mnt/vmstore/twin/twin.qcow2".into();
    intent.vms.insert("twin".parse().unwrap(), twin);
    let mut observed = as_wanted(&intent);
    observed.files.get_mut("haos").unwrap().trouble = Some("no qcow2".into());
    let resources = diff(&intent, &observed);
    assert_eq!(resources[0].refused.as_deref(), Some("no qcow2"));
    assert!(resources[1].refused.is_none() && !resources[1].actions.is_empty());
}

#[test]
fn machines_with_a_place_are_started_by_us_in_their_order() {
    let mut intent = sample::intent();
    for (name, order) in [("a", None), ("router", Some(1)), ("apps", Some(2))] {
        let mut vm = intent.vms["haos"].clone();
        vm.disk_image.as_mut().unwrap().dest = format!("/mnt/vmstore/{name}/{name}.qcow2");
        vm.start_order = order;
        intent.vms.insert(name.parse().unwrap(), vm);
    }
    let observed = Observed { mounts: sample::mounts(), ..Observed::default() };
    let titles = titles(&intent, &observed);
    let starts: Vec<_> = titles.iter().filter(|title| title.contains("start")).collect();
    let wanted = ["start router", "start apps", "autostart a", "start a", "autostart haos"];
    assert_eq!(starts, [&wanted[..], &["start haos"]].concat());
}

#[test]
fn f10_every_half_of_a_machine_is_recognised_and_finished() {
    let intent = sample::intent();
    let whole = as_wanted(&intent);
    let fresh = Observed { mounts: sample::mounts(), ..Observed::default() };
    let order = titles(&intent, &fresh);
    // Cut after each action: what it leaves, and what is then still to be done.
    let mut observed = fresh;
    let files = |observed: &mut Observed, change: &dyn Fn(&mut FilesFound)| {
        change(observed.files.entry("haos".into()).or_default());
    };
    let rest =
        |observed: &Observed, done: usize| assert_eq!(titles(&intent, observed), order[done..]);
    files(&mut observed, &|files| files.directory = true);
    rest(&observed, 1);
    files(&mut observed, &|files| files.disk_bytes = Some(6 * GIB));
    rest(&observed, 2);
    files(&mut observed, &|files| files.disk_bytes = Some(32 * GIB));
    rest(&observed, 3);
    let defined = DomainFound { running: None, autostart: false, ..whole.domains["haos"].clone() };
    observed.domains.insert("haos".into(), defined);
    rest(&observed, 4);
    observed.domains.get_mut("haos").unwrap().autostart = true;
    rest(&observed, 5);
    // Started, and the note of it was cut off.
    observed.domains = whole.domains.clone();
    assert_eq!(titles(&intent, &observed), ["note that haos runs"]);
    assert!(titles(&intent, &whole).is_empty());
}

#[test]
fn a_machine_that_was_undefined_and_is_declared_again_is_started() {
    let intent = sample::intent();
    let mut observed = as_wanted(&intent);
    observed.domains.clear();
    assert!(observed.files["haos"].started, "the note of the machine before");
    assert_eq!(titles(&intent, &observed).last().unwrap(), "start haos");
}

#[test]
fn f10_a_removal_that_was_cut_off_is_finished() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().state = State::Absent;
    observed.domains.get_mut("haos").unwrap().running = None;
    assert_eq!(titles(&intent, &observed), ["undefine haos", "delete the directory of haos"]);
    observed.domains.clear();
    assert_eq!(titles(&intent, &observed), ["delete the directory of haos"]);
}

#[test]
fn a_seed_is_written_once_and_again_when_it_changes() {
    let mut intent = sample::intent();
    intent.vms.get_mut("haos").unwrap().cloud_init = Some(sample::cloud_init());
    let mut observed = as_wanted(&intent);
    let action = ["write the cloud-init seed of haos"];
    assert_eq!(titles(&intent, &observed), action);
    let wanted = wanted_seed(&intent, "haos", &intent.vms["haos"]).unwrap();
    observed.files.get_mut("haos").unwrap().seed = wanted;
    assert!(titles(&intent, &observed).is_empty());
    intent.vms.get_mut("haos").unwrap().cloud_init.as_mut().unwrap().user = "me".into();
    assert_eq!(titles(&intent, &observed), action);
}

#[test]
fn status_says_how_a_machine_should_be_and_is() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    let line = |intent: &HostFile, observed: &Observed| {
        let found = describe(intent, observed, "haos").unwrap();
        format!("{} | {}", found.intent, found.reality)
    };
    let mut lines = vec![line(&intent, &observed)];
    observed.domains.get_mut("haos").unwrap().running = Some(Some("older".into()));
    lines.push(line(&intent, &observed));
    observed.domains.get_mut("haos").unwrap().running = None;
    lines.push(line(&intent, &observed));
    observed.domains.get_mut("haos").unwrap().intent = None;
    lines.push(line(&intent, &observed));
    intent.vms.get_mut("haos").unwrap().state = State::Absent;
    lines.push(line(&intent, &Observed::default()));
    insta::assert_snapshot!(lines.join("\n"));
}

/// The machine of the recorded definitions, which libvirt holds as `recorded`.
fn held(recorded: &str) -> (HostFile, Observed) {
    let mut intent = sample::intent();
    let vm = intent.vms.get_mut("haos").unwrap();
    (vm.firmware, vm.guest_agent) = (bedplate_model::host::Firmware::Uefi, true);
    let mut observed = as_wanted(&intent);
    observed.domains.get_mut("haos").unwrap().held = Model::parse(recorded).ok();
    (intent, observed)
}

#[test]
fn t49_a_change_of_memory_does_not_put_a_disk_back_beneath_its_overlay() {
    let overlay = include_str!("../recorded/overlay.xml");
    let (mut intent, mut observed) = held(overlay);
    let based = super::super::observe::Layer::Based(vec!["/mnt/vmstore/haos/haos.qcow2".into()]);
    let layers = [("/mnt/vmstore/haos/haos.before-update".into(), based)].into();
    observed.domains.get_mut("haos").unwrap().layers = layers;
    // Nothing is wanted: it is told, and its base is not enlarged beneath it.
    intent.vms.get_mut("haos").unwrap().disk_gb = Some(64);
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty() && resource.refused.is_none(), "{resource:?}");
    assert!(resource.wants[0].contains("virsh blockcommit haos vda"), "{resource:?}");

    intent.vms.get_mut("haos").unwrap().ram_mb = 8192;
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.refused.unwrap().contains("virsh blockcommit haos vda"));
    assert!(resource.actions.is_empty());
    // It is started at boot all the same, as it is.
    observed.domains.get_mut("haos").unwrap().running = None;
    observed.files.get_mut("haos").unwrap().started = false;
    assert_eq!(titles(&intent, &observed), ["start haos"]);
}

#[test]
fn t49_a_machine_whose_definition_cannot_be_read_is_not_defined_anew() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    let found = observed.domains.get_mut("haos").unwrap();
    (found.held, found.is_unread) = (None, true);
    intent.vms.get_mut("haos").unwrap().disk_gb = Some(64);
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty() && resource.refused.is_none(), "{resource:?}");
    assert!(resource.wants[0].contains("virsh dumpxml haos"), "{resource:?}");
    intent.vms.get_mut("haos").unwrap().ram_mb = 8192;
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty(), "{resource:?}");
    assert!(resource.refused.unwrap().contains("not defined anew"));
}

#[test]
fn t50_the_disk_of_a_machine_whose_memory_is_saved_is_not_changed() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().disk_gb = Some(64);
    let found = observed.domains.get_mut("haos").unwrap();
    (found.running, found.managed_save) = (None, true);
    assert_eq!(titles(&intent, &observed), ["start haos"]);
    // Into a file of its owner's.
    let found = observed.domains.get_mut("haos").unwrap();
    (found.standing, found.managed_save) = (Standing::Off(Off::Saved), false);
    assert!(titles(&intent, &observed).is_empty());
    observed.domains.get_mut("haos").unwrap().standing = Standing::Off(Off::ShutDown);
    assert_eq!(titles(&intent, &observed), ["enlarge the disk of haos to 64 GiB"]);
}

#[test]
fn t49_what_a_redefinition_takes_away_stands_in_the_plan() {
    let (mut intent, observed) = held(include_str!("../recorded/by_hand.xml"));
    // By itself nothing is taken away.
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty() && resource.refused.is_none(), "{resource:?}");
    let told = &resource.wants[0];
    assert!(told.contains("changed by hand") && told.contains("data.qcow2"), "{told}");
    assert!(told.contains("vm redefine haos"), "{told}");

    intent.vms.get_mut("haos").unwrap().vcpu = 3;
    let resource = diff(&intent, &observed).remove(0);
    let Action::Define { machine, .. } = &resource.actions[0] else { panic!("{resource:?}") };
    assert_eq!(machine.as_deref(), Some("pc-q35-7.2"), "it stays in its machine");
    let line = resource.actions[0].to_string();
    for part in [
        "takes away the disk vdb (/mnt/vmstore/haos/data.qcow2)",
        "memory of 6144 MiB becomes 4096 MiB",
        "network card 52:54:00:aa:bb:cc",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn secure_boot_does_not_begin_with_variables_that_carry_no_keys() {
    let (mut intent, mut observed) = held(include_str!("../recorded/uefi.xml"));
    assert!(diff(&intent, &observed)[0].wants.is_empty());
    let vm = intent.vms.get_mut("haos").unwrap();
    vm.firmware = bedplate_model::host::Firmware::UefiSecureBoot;
    let resource = diff(&intent, &observed).remove(0);
    let line = resource.actions[0].to_string();
    assert!(line.contains("firmware uefi becomes uefi-secure-boot"), "{line}");
    observed.files.get_mut("haos").unwrap().without_key = true;
    let resource = diff(&intent, &observed).remove(0);
    assert!(resource.actions.is_empty(), "{resource:?}");
    assert!(resource.refused.unwrap().contains("vm redefine haos --new-variables"));
    // One that is defined so already is told.
    observed.domains.get_mut("haos").unwrap().intent = Some(hash(&intent));
    observed.domains.get_mut("haos").unwrap().held = None;
    let resource = diff(&intent, &observed).remove(0);
    assert!(
        resource.refused.is_none() && resource.wants[0].contains("carry no keys"),
        "{resource:?}"
    );
}

#[test]
fn t49_no_directory_goes_while_a_domain_of_another_name_has_a_file_in_it() {
    let mut intent = sample::intent();
    let mut observed = as_wanted(&intent);
    intent.vms.get_mut("haos").unwrap().state = State::Absent;
    let files = users::Files {
        paths: vec!["/mnt/vmstore/haos/haos.qcow2".into()],
        ..users::Files::default()
    };
    // Its own do not count: they go with it.
    observed.domains.get_mut("haos").unwrap().files = files.clone();
    assert_eq!(titles(&intent, &observed).len(), 3);
    let copy = DomainFound { files, ..DomainFound::default() };
    observed.domains.insert("haos-copy".into(), copy);
    for domain_is_gone in [false, true] {
        if domain_is_gone {
            observed.domains.remove("haos");
        }
        let resource = diff(&intent, &observed).remove(0);
        assert!(resource.actions.is_empty(), "{resource:?}");
        let why = resource.refused.unwrap();
        assert!(why.contains("the domain haos-copy has /mnt/vmstore/haos/haos.qcow2"), "{why}");
    }
    observed.files.get_mut("haos").unwrap().directory = false;
    assert!(diff(&intent, &observed)[0].refused.is_none(), "there is nothing to delete");
}

#[test]
fn a_disk_outside_the_directory_of_a_machine_that_goes_is_named_and_stays() {
    let other = include_str!("../recorded/overlay.xml").replace("/mnt/vmstore/haos/", "/srv/");
    let (mut intent, observed) = held(&other);
    intent.vms.get_mut("haos").unwrap().state = State::Absent;
    let resource = diff(&intent, &observed).remove(0);
    assert_eq!(resource.actions.len(), 3);
    let wanted = "the disk vda (/srv/haos.before-update) is not in its directory, and stays";
    assert_eq!(resource.notes, [wanted]);
}

#[test]
fn an_installer_of_another_download_is_fetched_and_nothing_waits_for_it() {
    let mut intent = sample::intent();
    let vm = intent.vms.get_mut("haos").unwrap();
    vm.usb_devices.clear();
    vm.iso_image = vm.disk_image.take();
    let mut observed = as_wanted(&intent);
    let files = observed.files.get_mut("haos").unwrap();
    (files.iso, files.started) = (true, false);
    files.iso_of = Some("0".repeat(64));
    observed.domains.get_mut("haos").unwrap().running = None;
    assert_eq!(titles(&intent, &observed), ["start haos"]);
    for noted in [None, Some("1".repeat(64))] {
        observed.files.get_mut("haos").unwrap().iso_of = noted;
        let wanted = ["start haos", "fetch the installer of haos"];
        assert_eq!(titles(&intent, &observed), wanted);
    }
    // What is saved goes on with the disc that its memory knows.
    let found = observed.domains.get_mut("haos").unwrap();
    found.managed_save = true;
    assert_eq!(titles(&intent, &observed), ["start haos"]);
    let told = diff(&intent, &observed).remove(0).notes;
    assert!(told.iter().any(|note| note.contains("once it has gone on")), "{told:?}");
    observed.domains.get_mut("haos").unwrap().managed_save = false;
    observed.files.get_mut("haos").unwrap().iso = false;
    let wanted = ["fetch the installer of haos", "start haos"];
    assert_eq!(titles(&intent, &observed), wanted);
}
