use proptest::prelude::*;

use super::*;

const ADMIN: &str = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
const HOST: &str = "age1a8pk4akrdamj7nvqy3zywgtny8dxz7t5xzu7u8v9mhrayp9freqsqatyrs";
const FILE: &str = "nix/hosts/hypervisor/secrets.yaml";

fn host() -> Recipient {
    HOST.parse().unwrap()
}

fn added(text: &str) -> String {
    match add(text, FILE, &host(), "hypervisor") {
        Edit::Changed(changed) => {
            assert_eq!(recipients(&changed, FILE).unwrap().last().unwrap(), HOST);
            assert_eq!(add(&changed, FILE, &host(), "hypervisor"), Edit::AlreadyThere);
            changed
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_item_is_added_beside_its_brothers_and_nothing_else_changes() {
    let text = format!(
        "# who may read\nkeys:\n  - &admin {ADMIN}\ncreation_rules:\n  # the laptop\n  - path_regex: hosts/laptop/.*\n    age: {ADMIN}\n  - path_regex: 'hosts/[^/]+/secrets\\.yaml$'\n    key_groups:\n    - pgp:\n      - ABCD\n      age:\n      - *admin   # me\nstores:\n  yaml: {{indent: 2}}\n"
    );
    let expected = text.replace(
        "      - *admin   # me\n",
        &format!("      - *admin   # me\n      - {HOST} # hypervisor\n"),
    );
    assert_eq!(added(&text), expected);
}

#[test]
fn a_list_at_the_end_of_a_file_without_a_last_newline_grows() {
    let text = format!("creation_rules:\n  - key_groups:\n      - age:\n          - {ADMIN}");
    assert_eq!(added(&text), format!("{text}\n          - {HOST} # hypervisor\n"));
}

#[test]
fn keys_between_commas_get_one_more() {
    for quote in ["", "'", "\""] {
        let text = format!("creation_rules:\n  - age: {quote}{ADMIN}{quote}\n");
        let expected = format!("creation_rules:\n  - age: {quote}{ADMIN},{HOST}{quote}\n");
        assert_eq!(added(&text), expected);
    }
}

#[test]
fn a_recipient_that_stands_there_by_an_alias_is_found() {
    let text = format!(
        "keys:\n  - &host {HOST}\ncreation_rules:\n  - key_groups:\n      - age:\n          - *host\n"
    );
    assert_eq!(add(&text, FILE, &host(), "hypervisor"), Edit::AlreadyThere);
}

#[test]
fn a_first_file_has_one_rule_and_one_group() {
    let admin = ADMIN.parse().unwrap();
    let text = new_file("hosts.d/it's", &[(admin, "me\nx: y".into()), (host(), "hv".into())]);
    assert_eq!(recipients(&text, "hosts.d/it's/a.yaml").unwrap(), [ADMIN, HOST]);
    assert!(recipients(&text, "hosts-d/it's/a.yaml").is_err());
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_not_understood_is_left_alone_and_told() {
    let texts = [
        "creation_rules:\n  - path_regex: other\n    age: a\n",
        "creation_rules:\n  - key_groups:\n      - age: [a]\n      - age: [b]\n",
        "creation_rules:\n  - key_groups:\n      - age: [a, b]\n",
        "creation_rules:\n  - age: >-\n      a,\n      b\n",
        "creation_rules:\n  - age: a # me\n",
        "creation_rules:\n  - pgp: ABCD\n",
        "creation_rules:\n  - path_regex: '('\n    age: a\n",
        "keys: []\n",
        "a: [\n",
        "",
    ];
    let told = texts.map(|text| match add(text, FILE, &host(), "hypervisor") {
        Edit::ByHand { why, add } => format!("{why}: {}", add.replace(HOST, "age1…")),
        other => panic!("{text}: {other:?}"),
    });
    insta::assert_snapshot!(told.join("\n"));
}

proptest! {
    #[test]
    fn arbitrary_text_does_no_harm(text: String, rest in "[-a-z:&* \n,'\"|>\\[\\]{}]{0,80}") {
        drop(add(&text, FILE, &host(), "x"));
        drop(add(&format!("creation_rules:\n  - age:\n{rest}"), FILE, &host(), "x"));
        drop(add(&format!("creation_rules:\n{rest}"), FILE, &host(), &text));
    }
}
