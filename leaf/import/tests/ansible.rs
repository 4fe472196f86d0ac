//! Lists as people have them, and what becomes of each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_document as document;
use bedplate_import::ansible::{ImportError, Imported, import};
use proptest::prelude::*;

const SEED: &str = include_str!("fixtures/seed.yml");
const HOSTILE: &str = include_str!("fixtures/hostile.yml");

fn shown(imported: &Imported) -> String {
    let notes: String = imported.notes.iter().map(|note| format!("{note}\n")).collect();
    format!("{}== notes\n{notes}", imported.text)
}

/// A document around the sections, in which only they can be wrong.
fn problems(sections: &str) -> Vec<String> {
    let base = include_str!("../../../profiles/hypervisor/host.toml");
    let base: String = base.split("[vms.").next().unwrap().to_owned();
    match document::parse(&format!("{base}\n{sections}"), "host.toml") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.key.clone()).collect(),
    }
}

#[test]
fn a_list_with_checksums_gives_machines_that_need_nothing_more() {
    let imported = import(SEED).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert_eq!(problems(&imported.text), Vec::<String>::new());
}

#[test]
fn what_cannot_be_carried_over_is_named_and_left_out() {
    let imported = import(HOSTILE).unwrap();
    insta::assert_snapshot!(shown(&imported));
    assert!(imported.notes.iter().any(|note| note.is_open));
    assert!(!shown(&imported).contains("me:secret"));
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
fn what_holds_no_machines_is_refused() {
    assert_eq!(import("$ANSIBLE_VAULT;1.1;AES256\n6162"), Err(ImportError::Vault));
    for text in ["a: 1", "libvirt_vms: 5", "- a"] {
        assert_eq!(import(text), Err(ImportError::NoList), "{text}");
    }
    assert!(matches!(import("a: [1"), Err(ImportError::Yaml(_))));
}

/// Lines of a good list in another order, cut or garbled.
fn garbled() -> impl Strategy<Value = String> {
    let lines: Vec<String> = SEED.lines().map(str::to_owned).collect();
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
            }
        }
    }
}
