//! Lists as people have them, and what becomes of each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod common;

use bedplate_import::ansible;
use bedplate_import::{Base, ImportError, Imported};
use common::{problems, shown};
use proptest::prelude::*;

const SEED: &str = include_str!("fixtures/seed.yml");
const HOSTILE: &str = include_str!("fixtures/hostile.yml");
const SHARED: &str = include_str!("fixtures/shared.yml");
const NUMBERS: &str = include_str!("fixtures/numbers.yml");
const TOLD: &str = include_str!("fixtures/told.yml");

fn import(text: &str) -> Result<Imported, ImportError> {
    ansible::import(text, Base::Fresh)
}

#[test]
fn a_list_with_checksums_gives_machines_that_need_nothing_more() {
    let imported = import(SEED).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert_eq!(problems(&imported.text), Vec::<String>::new());
    assert!(!imported.is_open());
}

#[test]
fn what_cannot_be_carried_over_is_named_and_left_out() {
    let imported = import(HOSTILE).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert!(imported.is_open());
    assert!(!shown(&imported).contains("me:secret"));
}

#[test]
fn aliases_and_merge_keys_in_a_playbook_stand_for_what_they_name() {
    let imported = import(SHARED).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert_eq!(problems(&imported.text), Vec::<String>::new());
}

#[test]
fn numbers_are_those_that_ansible_reads_or_told() {
    insta::assert_snapshot!(shown(&import(NUMBERS).unwrap()));
}

#[test]
fn vaults_templates_other_checksums_and_other_words_are_told_as_what_they_are() {
    let imported = import(TOLD).unwrap();
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn t29_an_image_without_a_checksum_is_left_to_be_filled_in() {
    let variables = SEED.lines().filter(|line| !line.contains("sha256")).collect::<Vec<_>>();
    let imported = import(&variables.join("\n")).unwrap();
    let about: Vec<_> = imported.notes.iter().filter(|note| note.is_open).collect();
    assert_eq!(about.len(), 2, "{about:?}");
    assert!(imported.text.contains("# sha256 ="));
    let wrong = problems(&imported.text);
    assert_eq!(wrong, ["vms.haos.disk_image.sha256", "vms.testvm.iso_image.sha256"]);
}

#[test]
fn what_holds_no_machines_is_refused_with_its_place_and_what_it_is() {
    for (text, place, what) in [
        ("$ANSIBLE_VAULT;1.1;AES256\n6162", (1, 1), "ansible-vault view"),
        ("\n$ANSIBLE_VAULT;1.1;AES256\n6162", (1, 1), "ansible-vault view"),
        ("a: 1", (1, 1), "there is no list `libvirt_vms`"),
        ("- a", (1, 1), "there is no list `libvirt_vms`"),
        ("libvirt_vms: 5", (1, 14), "a plain value"),
        ("a: 1\nlibvirt_vms:", (2, 12), "nothing"),
        ("libvirt_vms:\n  web: { vcpu: 1 }", (2, 3), "is a map"),
        ("libvirt_vms: \"{{ a + b }}\"", (1, 14), "the template"),
        ("libvirt_vms: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n", (1, 14), "a vault"),
        ("- hosts: all\n  vars_files: [a.yml]\n", (2, 3), "names other files"),
        ("guests:\n  - { name: a, vcpus: 2 }\n", (1, 1), "looks like one of machines"),
        ("a: [1", (2, 1), "cannot be read"),
        ("a: &a [*a]\nlibvirt_vms: []", (1, 8), "stands in what it stands for"),
    ] {
        let error = import(text).unwrap_err();
        assert!(error.what.contains(what), "{text}: {error}");
        assert_eq!((error.line, error.column), place, "{text}: {error}");
    }
    let long = format!("a: {}", "x".repeat(bedplate_import::LIMIT));
    assert!(import(&long).unwrap_err().what.contains("bytes"));
}

#[test]
fn no_exit_without_a_note_where_check_refuses_the_text() {
    for machine in [
        "{ name: a }",
        "{ name: a, iso_image: { url: 'https://e.org/a.iso', sha256: SUM } }",
        "{ name: a, existing_disk: a.qcow2, vlan: 20 }",
        "{ name: a, existing_disk: a.qcow2, kind: haos, firmware: bios }",
        "{ name: a, existing_disk: a.qcow2, bridge: br7 }",
        "{ name: a, existing_disk: a.qcow2, nics: [{ mac_address: '52:54:00:00:00:01' }] }",
        "{ name: a, existing_disk: a.qcow2, cloud_init: { user: ada } }",
    ] {
        let text = format!("libvirt_vms:\n  - {machine}\n").replace("SUM", &"1".repeat(64));
        let imported = import(&text).unwrap();
        assert!(!problems(&imported.text).is_empty(), "{machine}");
        assert!(imported.is_open(), "{machine}");
        assert!(imported.notes.iter().all(|note| note.line == 2), "{:?}", imported.notes);
    }
}

#[test]
fn a_host_toml_that_is_named_says_what_it_lacks_and_what_is_in_it_already() {
    let base = common::base();
    let text = "libvirt_vms:\n  - { name: a, existing_disk: a.qcow2, bridge: br7 }\n";
    let fresh = import(text).unwrap();
    assert!(shown(&fresh).contains("must have `[network.bridges.br7]`"), "{}", shown(&fresh));
    let own = |base: &str| ansible::import(text, Base::Own(base)).unwrap();
    let missing = own(&base);
    assert!(shown(&missing).contains("there is no `[network.bridges.br7]`"), "{}", shown(&missing));
    let with = format!("{base}\n[network.bridges.br7]\nnic = \"enp7s0\"\n");
    assert_eq!(own(&with).notes, []);
    let other =
        with.replace("[pools.vmstore]", "[pools.fast]").replace("/vmstore/backups", "/vmstore/b");
    let named = own(&other);
    assert!(named.text.contains("pool = \"fast\""), "{}", shown(&named));
    let twice = format!("{with}\n[vms.a]\nexisting_disk = \"a.qcow2\"\n");
    assert!(own(&twice).is_open());
}

/// Lines of a good list in another order, cut or garbled.
fn garbled() -> impl Strategy<Value = String> {
    let lines: Vec<String> = [SEED, SHARED, NUMBERS, TOLD]
        .iter()
        .flat_map(|text| text.lines())
        .map(str::to_owned)
        .collect();
    let line = prop_oneof![
        6 => proptest::sample::select(lines),
        1 => "\\PC{0,20}",
        1 => "    [a-z_]{1,8}: (\"[^\"]{0,9}\"|[0-9]{1,20}|\\[\\]|&a|\\*a|!vault x)",
    ];
    proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t17_whatever_comes_the_text_is_toml_and_no_value_leaves_its_place(text in garbled()) {
        let list = format!("libvirt_vms:\n{text}");
        for text in [text, list] {
            if let Ok(imported) = import(&text) {
                let keys = problems(&imported.text);
                prop_assert!(keys.iter().all(|key| key.starts_with("vms.")), "{keys:?}\n{}", imported.text);
                prop_assert!(keys.is_empty() || imported.is_open(), "{keys:?}\n{}", imported.text);
            }
        }
    }
}
