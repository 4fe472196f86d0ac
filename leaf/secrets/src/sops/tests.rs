use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::{age_file, ssh};

/// Written by sops 3.7.1 (see `tests/fixtures/README.md`).
const REAL: &str = include_str!("../../tests/fixtures/secrets.yaml");
const DATA_KEY: [u8; 32] = [9; 32];
const CHANGED: &str = "2026-11-21T12:00:00Z";

fn host() -> Identity {
    let key = include_bytes!("../../tests/fixtures/ssh-ed25519-key");
    ssh::identity(&Secret::new(key.to_vec())).unwrap()
}

fn admin() -> Identity {
    let key = include_bytes!("../../tests/fixtures/age-keys.txt");
    ssh::identities(&Secret::new(key.to_vec())).unwrap().remove(0)
}

/// As sops encrypts one value.
fn sealed(plain: &str, place: &str, kind: &str) -> String {
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(&DATA_KEY).unwrap();
    let iv = [3; 32];
    let mut data = plain.as_bytes().to_vec();
    let nonce = GenericArray::from_slice(&iv);
    let tag = cipher.encrypt_in_place_detached(nonce, place.as_bytes(), &mut data).unwrap();
    let [data, iv, tag] = [&data[..], &iv[..], &tag[..]].map(|part| STANDARD.encode(part));
    format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]")
}

/// A file with `body`, whose MAC covers `covered`, and `more` in its metadata.
fn file(body: &str, covered: &[&[u8]], more: &str) -> String {
    let mut hash = Sha512::new();
    covered.iter().for_each(|bytes| hash.update(bytes));
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
    let mac = sealed(&digest, CHANGED, "str");
    let to = host().recipient();
    let key = age_file::seal(&Secret::new(DATA_KEY.to_vec()), std::slice::from_ref(&to)).unwrap();
    let key = String::from_utf8(key).unwrap();
    let key: String = key.lines().map(|line| format!("            {line}\n")).collect();
    format!(
        "{body}sops:\n    age:\n        - recipient: {to}\n          enc: |\n{key}    \
         lastmodified: \"{CHANGED}\"\n    mac: {mac}\n{more}    version: 3.9.0\n"
    )
}

fn refused(text: &str) -> String {
    use std::error::Error as _;
    let error = open(text, &[host()]).unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn a_file_that_sops_wrote_is_opened_by_the_ssh_key_and_by_the_age_key() {
    for key in [host(), admin()] {
        let opened = open(REAL, &[key]).unwrap();
        assert_eq!(opened.keys(), ["a_list/0", "a_list/1", "nested/test/file", "test_key"]);
        assert_eq!(opened.value("test_key").unwrap().expose(), b"test_value");
        assert_eq!(opened.value("nested/test/file").unwrap().expose(), b"another value");
    }
}

#[test]
fn the_recipients_of_a_file_are_listed() {
    let names = recipients(REAL).unwrap();
    assert_eq!(names, [admin().recipient().to_string(), host().recipient().to_string()]);
}

#[test]
fn every_kind_of_value_counts_in_the_mac_as_sops_counts_it() {
    let body = format!(
        "text: {}\nnumber: {}\nflag: {}\nnothing: null\nempty: \"\"\nshown_unencrypted: 12\nyes_unencrypted: true\nquoted_unencrypted: '007'\n",
        sealed("a", "text:", "str"),
        sealed("42", "number:", "int"),
        sealed("True", "flag:", "bool"),
    );
    let text = file(&body, &[b"a42True12True007"], "");
    let opened = open(&text, &[host()]).unwrap();
    assert_eq!(opened.value("number").unwrap().expose(), b"42");
    let plain = opened.value("shown_unencrypted").unwrap_err().to_string();
    assert_eq!(plain, "line 6: `shown_unencrypted` stands there unencrypted; encrypt it with sops");
    let unknown = opened.value("other").unwrap_err().to_string();
    assert_eq!(unknown, "it has no value `other`; it has flag, number, text");
}

#[test]
fn with_mac_only_encrypted_other_values_do_not_count() {
    let body = format!("a: {}\nb: free\n", sealed("x", "a:", "str"));
    let covered: [&[u8]; 2] = [&ONLY_ENCRYPTED, b"x"];
    let text = file(&body, &covered, "    mac_only_encrypted: true\n");
    assert_eq!(open(&text, &[host()]).unwrap().value("a").unwrap().expose(), b"x");
    let without = text.replace("    mac_only_encrypted: true\n", "");
    assert!(matches!(open(&without, &[host()]), Err(SopsError::Mac)));
}

#[test]
fn t20_a_file_that_was_changed_gives_no_value() {
    let (a, b) = (sealed("one", "a:", "str"), sealed("two", "b:", "str"));
    let good = file(&format!("a: {a}\nb: {b}\n"), &[b"onetwo"], "");
    assert!(open(&good, &[host()]).is_ok());
    let removed = good.replace(&format!("b: {b}\n"), "");
    assert!(matches!(open(&removed, &[host()]), Err(SopsError::Mac)));
    let moved = good.replace(&format!("b: {b}"), &format!("b: {a}"));
    assert_eq!(
        refused(&moved),
        "line 2: `b` does not open: it was changed, or stands at another place than it was encrypted for"
    );
    let plain = good.replace(&format!("b: {b}"), "b: three");
    assert!(matches!(open(&plain, &[host()]), Err(SopsError::Mac)));
    let older = good.replace(CHANGED, "2026-11-20T12:00:00Z");
    assert!(matches!(open(&older, &[host()]), Err(SopsError::Mac)));
}

#[test]
fn what_is_not_supported_is_said() {
    insta::assert_snapshot!(
        [
            refused("a: 1\n"),
            refused("sops:\n    pgp:\n        - fp: AB\n          enc: x\n    kms: []\n"),
            refused("sops:\n    kms:\n        - arn: x\n"),
            refused("sops:\n    key_groups:\n        - age: []\n        - pgp: []\n"),
            refused("sops:\n    age:\n        - recipient: age1x\n"),
            refused(&file("a: &x b\nc: *x\n", &[b"bb"], "")),
            refused(&file("a: 1.5\n", &[b"1.5"], "")),
            refused(&file("a: 0x10\n", &[b"16"], "")),
            refused(&file("a: 2001-12-14\n", &[b""], "")),
            refused(&file("a: !!binary aGk=\n", &[b"hi"], "")),
            refused("a: 1\n---\nb: 2\n"),
            refused("a: 1\na: 2\n"),
            refused(&"[".repeat(1000)),
        ]
        .join("\n")
    );
}

#[test]
fn a_file_for_others_names_them_and_what_to_do() {
    let error = open(&file("a: b\n", &[b"b"], ""), &[admin()]).unwrap_err().to_string();
    assert!(error.contains(host().recipient().as_str()) && error.contains("secrets rekey"));
    assert!(error.contains(admin().recipient().as_str()), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_text_does_no_harm(text: String, value in "ENC\\[AES256_GCM,.{0,60}\\]?") {
        drop(open(&text, &[host()]));
        prop_assert!(value::open(&value, &DATA_KEY, "a:").is_err());
    }

    #[test]
    fn a_real_file_with_one_byte_changed_never_gives_another_value(
        at in 0..REAL.len(), byte in 0x20_u8..0x7f,
    ) {
        let mut bytes = REAL.as_bytes().to_vec();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(opened) = open(&text, &[admin()])
            && let Ok(value) = opened.value("test_key")
        {
            prop_assert_eq!(value.expose(), b"test_value");
        }
    }
}

#[test]
fn every_kind_of_key_that_opens_a_file_counts() {
    assert_eq!(recipients(REAL).unwrap().len(), 2);
    assert_eq!(openers(REAL).unwrap(), 4, "and two of PGP");
}
