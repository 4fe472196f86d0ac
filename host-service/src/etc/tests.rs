use std::fs;

use bedplate_document as document;
use bedplate_sample as sample;

use super::*;

const DOCUMENT: &str = include_str!("../../../profiles/hypervisor/host.toml");

fn parts() -> Parts {
    Parts {
        tree: "/nix/store/t-bedplate-tree".into(),
        programs: "/nix/store/p-bedplate-programs".into(),
        runtime: "/nix/store/r-bedplate-runtime".into(),
        initrd_modules: "/nix/store/m-bedplate-initrd-modules".into(),
        initrd_program: "/nix/store/i-bedplate-initrd-program".into(),
        kernel_version: "6.12".into(),
        out: "/nix/store/s-bedplate-system-hypervisor".into(),
    }
}

fn all(host: &HostFile, document: &str) -> BTreeMap<String, Entry> {
    super::toplevel(host, document, &parts()).unwrap()
}

#[test]
fn the_toplevel_of_the_profile() {
    let host = document::parse(DOCUMENT, "host.toml").unwrap();
    let all = all(&host, DOCUMENT);
    let mut text = String::new();
    for (path, entry) in all.iter().filter(|(path, _)| !path.ends_with("host.toml")) {
        match entry {
            Entry::Link(target) => text += &format!("== {path} -> {target}\n"),
            Entry::File(content) => text += &format!("== {path}\n{}\n", content.trim_end()),
            Entry::Program(content) => {
                text += &format!("== {path} (executable)\n{}\n", content.trim_end())
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn f9_an_entry_of_the_mirror_is_blessed_like_one_of_the_first_esp() {
    let mut host = document::parse(DOCUMENT, "host.toml").unwrap();
    let path = "etc/systemd/system/systemd-bless-boot.service.d/10-bedplate.conf";
    assert!(!all(&host, DOCUMENT).contains_key(path));
    host.os.esp_mirror = "bulk1".parse().ok();
    let all = all(&host, DOCUMENT);
    let Some(Entry::File(content)) = all.get(path) else { panic!("no {path}") };
    assert!(content.contains("--path=/boot --path=/boot-mirror good"), "{content}");
}

#[test]
fn t19_a_pool_that_is_killed_while_it_opens_keeps_no_passphrase_in_memory() {
    let host = document::parse(DOCUMENT, "host.toml").unwrap();
    let all = all(&host, DOCUMENT);
    let unit = all.get("etc/systemd/system/bedplate-pool@.service");
    let Some(Entry::File(content)) = unit else { panic!("no unit") };
    let line = content.lines().find_map(|line| line.strip_prefix("ExecStopPost=-"));
    assert!(line.is_some_and(|line| line.ends_with("/bedplate-host pool settled %i")));
}

#[test]
fn pools_are_looked_after_when_somebody_is_to_be_told() {
    let text = format!("{DOCUMENT}\n[notify]\nurl = \"https://ntfy.example.org/hv\"\n");
    let entry = |text: &str, path: &str| {
        let host = document::parse(text, "host.toml").unwrap();
        all(&host, text).remove(path)
    };
    let unit = "etc/systemd/system/bedplate-notify.service";
    let Some(Entry::File(content)) = entry(&text, unit) else { panic!("no unit") };
    assert!(content.contains("bedplate-pool@bulk.service bedplate-pool@vmstore.service\n"));
    let timer = "etc/systemd/system/timers.target.wants/bedplate-notify.timer";
    assert!(entry(&text, timer).is_some());
    assert!(entry(DOCUMENT, unit).is_none());
}

#[test]
fn f9_what_looks_after_disks_and_tells_does_not_go_by_the_clock() {
    let text = format!("{DOCUMENT}\n[notify]\nurl = \"https://ntfy.example.org/hv\"\n");
    let host = document::parse(&text, "host.toml").unwrap();
    let all = all(&host, &text);
    for name in ["bedplate-notify.timer", "bedplate-pool-tend.timer"] {
        let entry = all.get(&format!("etc/systemd/system/{name}"));
        let Some(Entry::File(timer)) = entry else { panic!("no {name}") };
        assert!(timer.contains("OnBootSec=") && timer.contains("OnUnitInactiveSec="), "{timer}");
        assert!(!timer.contains("OnCalendar"), "{timer}");
    }
}

#[test]
fn a_machine_without_a_bridge_to_wait_for_is_online_with_any_nic_and_soon() {
    let file = "systemd/system/systemd-networkd-wait-online.service.d/10-bedplate.conf";
    let other = "systemd/network/80-bedplate-other.network";
    let mut host = sample::intent();
    let text = |host: &HostFile, path: &str| match all(host, "").remove(&format!("etc/{path}")) {
        Some(Entry::File(text)) => Some(text),
        _ => None,
    };
    assert_eq!(text(&host, file), None);
    assert!(text(&host, other).unwrap().contains("RequiredForOnline=no"));
    for bridge in host.network.bridges.values_mut() {
        bridge.nic = None;
    }
    assert!(text(&host, file).unwrap().contains("--any --timeout=30\nSuccessExitStatus=1"));
    assert!(text(&host, other).unwrap().contains("RequiredForOnline=yes"));
}

#[test]
fn a_usb_device_of_a_guest_is_looked_after_when_it_is_plugged_in() {
    let mut host = bedplate_sample::intent();
    let entry = |host: &HostFile, path: &str| match all(host, DOCUMENT).remove(path) {
        Some(Entry::File(content)) => Some(content),
        _ => None,
    };
    let unit = "etc/systemd/system/bedplate-vm-tend.service";
    insta::assert_snapshot!(entry(&host, unit).unwrap());
    let rules = entry(&host, "etc/udev/rules.d/71-bedplate-guests.rules").unwrap();
    assert!(rules.contains("ATTR{idVendor}==\"1a86\", ATTR{idProduct}==\"7523\""), "{rules}");
    assert!(rules.contains("start bedplate-vm-tend.service"), "{rules}");
    host.vms.values_mut().for_each(|vm| vm.usb_devices.clear());
    assert_eq!(entry(&host, unit), None);
}

#[test]
fn a_prepared_key_comes_before_one_is_made_where_the_repository_has_secrets() {
    let stick = "password = { stick = \"bedplate/restic-apps\" }";
    let text = DOCUMENT.replace(stick, "password = { age = \"restic.age\" }");
    assert_ne!(text, DOCUMENT);
    let entry = |text: &str, name: &str| {
        let host = document::parse(text, "host.toml").unwrap();
        let all = all(&host, text);
        match all.get(&format!("etc/systemd/system/{name}")) {
            Some(Entry::File(content)) => Some(content.clone()),
            _ => None,
        }
    };
    insta::assert_snapshot!(entry(&text, "bedplate-host-key.service").unwrap());
    let converge = |text| entry(text, "bedplate-converge.service").unwrap();
    assert!(converge(&text).contains(" sshd-keygen.service\n"), "{}", converge(&text));
    assert!(!converge(DOCUMENT).contains("sshd-keygen"));
    assert_eq!(entry(DOCUMENT, "bedplate-host-key.service"), None);
}

#[test]
fn what_is_rendered_for_nixos_is_what_the_embedded_platform_has() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("host.toml");
    let text = include_str!("../../../nix/nixos/tests/host.toml");
    fs::write(&path, text).unwrap();
    let out = place.path().join("out");
    render(&path, &out).unwrap();
    let host = document::parse(text, "host.toml").unwrap();
    let all = all(&host, text);
    // The names that nix/nixos/network.nix looks for.
    let names = ["br0.link", "br0.netdev", "br0.network", "br0-port.network"];
    let names = names.into_iter().chain(["lab0.link", "lab0.netdev", "lab0.network"]);
    let mut names: Vec<_> = names.map(|name| format!("10-bedplate-{name}")).collect();
    names.push("80-bedplate-other.network".into());
    let mut found = bedplate_facts::roots::names(&out.join("systemd/network"));
    for list in [&mut names, &mut found] {
        list.sort();
    }
    assert_eq!(found, names);
    for name in found {
        let path = format!("systemd/network/{name}");
        let rendered = fs::read_to_string(out.join(&path)).unwrap();
        assert_eq!(all.get(&format!("etc/{path}")), Some(&Entry::File(rendered)), "{path}");
    }
    let rules = fs::read_to_string(out.join(firewall::FILE)).unwrap();
    let path = format!("etc/{}", firewall::FILE);
    assert_eq!(all.get(&path), Some(&Entry::File(rules)), "{path}");
}

#[test]
fn a_document_with_mistakes_is_not_rendered() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("host.toml");
    fs::write(&path, DOCUMENT.replace("[pools.bulk]", "[pools.os]")).unwrap();
    let told = render(&path, &place.path().join("out")).unwrap_err().to_string();
    assert!(told.contains("host.toml:"), "{told}");
    assert!(!place.path().join("out").exists());
}
