//! Definitions of libvirt, machines of Proxmox, disks of disko and services of Compose.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod common;

use bedplate_import::libvirt::{self, Source};
use bedplate_import::{Base, ImportError, Imported, compose, disko, proxmox};
use common::{problems, shown};
use proptest::prelude::*;

const ROUTER: &str = include_str!("fixtures/router.xml");
const CELLAR: &str = include_str!("fixtures/110.conf");
const SHELF: &str = include_str!("fixtures/shelf.json");
const SERVICES: &str = include_str!("fixtures/compose.yml");

fn domain(xml: &str) -> Result<Imported, ImportError> {
    libvirt::import(&[Source { name: None, xml, autostart: None }], Base::Fresh)
}

fn machine(text: &str) -> Result<Imported, ImportError> {
    proxmox::import(text, "110", Base::Fresh)
}

#[test]
fn domains_are_carried_over_and_everything_else_of_them_is_told() {
    insta::assert_snapshot!(shown(&domain(ROUTER).unwrap()));
}

#[test]
fn a_domain_that_is_in_place_needs_nothing_more() {
    let start = ROUTER.find("<domain type='kvm'>").unwrap();
    let xml = ROUTER[start..].split("<domain type='xen'>").next().unwrap();
    let source = Source { name: Some("plain"), xml, autostart: Some(false) };
    let imported = libvirt::import(&[source], Base::Fresh).unwrap();
    assert!(!imported.is_open(), "{}", shown(&imported));
    assert!(imported.text.contains("autostart = false"), "{}", imported.text);
    assert_eq!(problems(&imported.text), Vec::<String>::new());
    let notes: Vec<_> = imported.notes.iter().map(|note| note.source.as_deref()).collect();
    assert!(notes.iter().all(|source| *source == Some("plain")), "{notes:?}");
    let moved = xml.replace("/mnt/vmstore/plain/", "/var/lib/libvirt/images/");
    assert!(domain(&moved).unwrap().is_open());
    let twice = format!("{xml}{xml}");
    assert!(shown(&domain(&twice).unwrap()).contains("of this name already"));
}

#[test]
fn what_bedplate_itself_defines_comes_back_as_it_was() {
    let recorded = include_str!("../../../machine/guests/src/vm/recorded/cloud_image.xml");
    let imported = domain(recorded).unwrap();
    for line in
        ["vcpu = 2", "ram_mb = 4096", "firmware = \"uefi\"", "vlan = 20", "guest_agent = false"]
    {
        assert!(imported.text.contains(line), "{line}: {}", imported.text);
    }
    assert!(imported.text.contains("existing_disk = \"haos.qcow2\""), "{}", imported.text);
}

#[test]
fn a_machine_with_a_name_that_cannot_stand_here_is_called_otherwise_and_that_is_told() {
    let named = |name: &str| {
        let conf = format!("name: {name}\nscsi0: local:vm-1-disk-0\n");
        let xml =
            format!("<domain type='kvm'><name>{name}</name><memory>1048576</memory></domain>");
        [machine(&conf).unwrap(), domain(&xml).unwrap()]
    };
    for (name, other) in
        [("mail.example.org", "mail-example-org"), ("Windows 11 (old)", "Windows-11--old")]
    {
        for imported in named(name) {
            assert!(imported.text.contains(&format!("[vms.{other}]")), "{}", imported.text);
            let told = format!("`{name}` is no name of a machine here: it is called `{other}` now");
            assert!(shown(&imported).contains(&told), "{}", shown(&imported));
            assert!(imported.is_open());
        }
    }
    for imported in named("...") {
        assert!(imported.text.is_empty() && imported.is_open(), "{}", imported.text);
    }
}

#[test]
fn an_overlay_of_a_snapshot_is_told_as_what_it_may_be() {
    let recorded = include_str!("../../../machine/guests/src/vm/recorded/overlay.xml");
    let imported = domain(recorded).unwrap();
    assert!(
        shown(&imported).contains("`virsh blockcommit` brings both together"),
        "{}",
        shown(&imported)
    );
    let chain = recorded.replace(
        "<target dev=\"vda\"",
        "<backingStore><source file=\"/a\"/></backingStore><target dev=\"vda\"",
    );
    let chain = chain.replace(
        "<target dev='vda'",
        "<backingStore><source file='/a'/></backingStore><target dev='vda'",
    );
    assert_ne!(chain, recorded);
    assert!(shown(&domain(&chain).unwrap()).contains("stands for itself"));
}

#[test]
fn what_is_no_domain_is_refused_with_its_place() {
    for (xml, what) in [
        ("", "there is no <domain>"),
        ("<network><name>a</name></network>", "`network`"),
        ("<domainsnapshot/>", "there is no <domain> in it"),
        ("<domain>\n<name></domain>", "cannot be read as XML"),
        ("name: web\n", "there is no <domain>"),
    ] {
        let error = domain(xml).unwrap_err();
        assert!(error.what.contains(what), "{xml}: {error}");
    }
    let deep = "<domain>".repeat(100_000);
    assert!(domain(&deep).is_err());
}

#[test]
fn machines_of_proxmox_are_carried_over_and_everything_else_of_them_is_told() {
    let imported = machine(CELLAR).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert!(!shown(&imported).contains("$5$secret"));
}

#[test]
fn what_is_no_machine_of_proxmox_is_refused_with_its_place() {
    for (text, line, what) in [
        ("", 1, "there is no machine"),
        ("[a]\nname: b\n", 1, "there is no machine"),
        ("hostname: a\nrootfs: local:1,size=1G\n", 2, "a container"),
        ("name: a\nwhat is this\n", 2, "no line `key: value`"),
        ("name: a\nname: b\n", 2, "stands in line 1, too"),
        ("colour: red\n", 1, "no key of a machine"),
    ] {
        let error = machine(text).unwrap_err();
        assert!(error.what.contains(what), "{text}: {error}");
        assert_eq!(error.line, line, "{text}: {error}");
    }
    let template = machine("name: a\ntemplate: 1\nscsi0: a:b\n").unwrap();
    assert!(template.text.is_empty() && template.is_open());
}

#[test]
fn what_proxmox_means_where_it_says_nothing_is_written_out() {
    let imported = machine("scsi0: local:vm-110-disk-0\r\nnet0: virtio,bridge=br0\r\n").unwrap();
    for line in [
        "[vms.vm110]",
        "vcpu = 1",
        "ram_mb = 512",
        "firmware = \"bios\"",
        "autostart = false",
        "guest_agent = false",
    ] {
        assert!(imported.text.contains(line), "{line}: {}", imported.text);
    }
}

#[test]
fn disks_of_disko_are_carried_over_where_bedplate_lays_them_out_so() {
    insta::assert_snapshot!(shown(&disko::import(SHELF).unwrap()));
}

#[test]
fn members_of_a_pool_are_found_by_what_disko_calls_them() {
    let of = |arguments: &str, second: &str| {
        let by_id = "/dev/disk/by-id/ata-EXAMPLE";
        let text = format!(
            r#"{{"disk": {{
              "one": {{"device": "{by_id}_A", "content": {{"type": "gpt", "partitions": {{"data": {{"content":
                {{"type": "luks", "name": "one", "content": {{"type": "btrfs", "mountpoint": "/mnt/one", "extraArgs": {arguments}}}}}}}}}}}}},
              "two": {{"device": "{by_id}_B", "content": {{"type": "gpt", "partitions": {{"data": {{ {second} }}}}}}}}
            }}}}"#
        );
        disko::import(&text).unwrap().text
    };
    let luks = r#""content": {"type": "luks", "name": "two"}"#;
    for (arguments, second) in [
        (r#"["-d", "raid1", "-m", "raid1", "/dev/mapper/two"]"#, luks),
        (r#"["-f", "-m raid1 -d raid1", "/dev/mapper/two"]"#, luks),
        (r#"["--data=raid1", "/dev/disk/by-partlabel/disk-two-data"]"#, r#""size": "100%""#),
        (r#"["--data=raid1", "/dev/disk/by-partlabel/second"]"#, r#""label": "second""#),
    ] {
        let text = of(arguments, second);
        assert!(text.contains("disks = [\"one1\", \"one2\"]"), "{arguments}: {text}");
    }
}

#[test]
fn what_is_no_layout_of_disko_is_refused() {
    for (text, what) in [
        ("{}", "there is no `disk`"),
        ("[]", "a list"),
        ("{ disko.devices = {}; }", "cannot be read"),
        ("{\"disk\": {}}", "there is no `disk`"),
    ] {
        let error = disko::import(text).unwrap_err();
        assert!(error.what.contains(what), "{text}: {error}");
    }
    assert!(disko::import("{\n\t\"disk\": { \"a\": {} }\n}").unwrap().is_open());
}

#[test]
fn services_are_told_one_by_one_and_no_secret_of_theirs() {
    let imported = compose::import(SERVICES).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert!(imported.text.is_empty() && imported.is_open());
    assert!(!shown(&imported).contains("hunter2"));
    for (text, what) in [
        ("a: 1", "no `services`"),
        ("services: [a]", "a list"),
        ("web: { image: a }", "before version 2"),
    ] {
        assert!(compose::import(text).unwrap_err().what.contains(what), "{text}");
    }
}

/// Lines of a good text in another order, cut or garbled.
fn garbled(text: &'static str) -> impl Strategy<Value = String> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = prop_oneof![
        8 => proptest::sample::select(lines),
        1 => "\\PC{0,20}",
        1 => "[a-z0-9]{1,6}: [a-z0-9:=,.'\"]{0,30}",
    ];
    proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t17_whatever_comes_no_value_leaves_its_place(
        xml in garbled(ROUTER), conf in garbled(CELLAR), json in garbled(SHELF), yaml in garbled(SERVICES)
    ) {
        let xml = format!("<domain><name>a</name>{xml}</domain>");
        let conf = format!("scsi30: a:b\n{conf}");
        for imported in [domain(&xml), machine(&conf)].into_iter().flatten() {
            let keys = problems(&imported.text);
            prop_assert!(keys.iter().all(|key| key.starts_with("vms.")), "{keys:?}\n{}", imported.text);
            prop_assert!(keys.is_empty() || imported.is_open(), "{keys:?}\n{}", imported.text);
        }
        drop((disko::import(&json), compose::import(&yaml)));
    }
}
