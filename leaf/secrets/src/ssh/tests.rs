use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;

const PRIVATE: &[u8] = include_bytes!("../../tests/fixtures/ssh-ed25519-key");
const PUBLIC: &str = include_str!("../../tests/fixtures/ssh-ed25519-key.pub");

/// What is written in the sops file of the fixture, made by others with `ssh-to-age`.
const RECIPIENT: &str = "age1a8pk4akrdamj7nvqy3zywgtny8dxz7t5xzu7u8v9mhrayp9freqsqatyrs";

fn made(directory: &std::path::Path, arguments: &[&str]) -> (Secret, String) {
    let path = directory.join("key");
    let output = Command::new("ssh-keygen")
        .args(["-q", "-C", "root@here", "-f"])
        .arg(&path)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let public = fs::read_to_string(directory.join("key.pub")).unwrap();
    (Secret::new(fs::read(path).unwrap()), public)
}

#[test]
fn a_published_key_gives_the_recipient_that_others_wrote_down() {
    assert_eq!(recipient(PUBLIC).unwrap().as_str(), RECIPIENT);
    let identity = identity(&Secret::new(PRIVATE.to_vec())).unwrap();
    assert_eq!(identity.recipient().as_str(), RECIPIENT);
}

#[test]
fn both_halves_of_a_key_of_ssh_keygen_give_the_same_recipient() {
    for _ in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = made(directory.path(), &["-t", "ed25519", "-N", ""]);
        // One way by the curve, the other by SHA-512 and the `age` crate.
        let identity = identity(&private).unwrap();
        assert_eq!(identity.recipient(), recipient(&public).unwrap());
        assert_eq!(public_line(&private).unwrap(), public);
    }
}

#[test]
fn age_keygen_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let (private, public) = made(directory.path(), &["-t", "ed25519", "-N", ""]);
    let file = directory.path().join("identity");
    fs::write(&file, identity(&private).unwrap().to_secret().expose()).unwrap();
    let output = Command::new("age-keygen").arg("-y").arg(&file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), recipient(&public).unwrap().as_str());
}

#[test]
fn other_kinds_and_locked_keys_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (private, public) = made(directory.path(), &["-t", "ecdsa", "-N", ""]);
    let kind = KeyError::Kind("ecdsa-sha2-nistp256".into());
    assert_eq!(recipient(&public), Err(kind));
    assert!(matches!(identity(&private), Err(KeyError::Kind(_))));
    let directory = tempfile::tempdir().unwrap();
    let (locked, _) = made(directory.path(), &["-t", "ed25519", "-N", "a passphrase"]);
    assert_eq!(identity(&locked).unwrap_err(), KeyError::Locked);
    assert!(matches!(recipient("ssh-ed25519 AAAA"), Err(KeyError::Format { .. })));
}

#[test]
fn a_point_of_small_order_is_refused() {
    let mut identity_point = [0; 32];
    identity_point[0] = 1;
    assert_eq!(of_point(&identity_point), Err(KeyError::Point));
}

#[test]
fn t19_an_identity_does_not_print_its_key() {
    let identity = identity(&Secret::new(PRIVATE.to_vec())).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains(RECIPIENT) && !shown.to_uppercase().contains("SECRET"), "{shown}");
    assert!(identity.to_secret().expose().starts_with(b"AGE-SECRET-KEY-1"));
}

#[test]
fn an_identity_file_of_age_keygen_is_read() {
    let file = include_bytes!("../../tests/fixtures/age-keys.txt");
    let found = identities(&Secret::new(file.to_vec())).unwrap();
    let names: Vec<String> = found.iter().map(|one| one.recipient().to_string()).collect();
    assert_eq!(names, ["age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw"]);
    assert!(identities(&Secret::new(b"AGE-SECRET-KEY-1X".to_vec())).is_err());
}

proptest! {
    #[test]
    fn every_seed_gives_a_recipient_that_age_accepts(seed: [u8; 32]) {
        let recipient = of_seed(&seed).unwrap().recipient();
        prop_assert_eq!(recipient.as_str().parse::<Recipient>().unwrap(), recipient);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>, text: String) {
        prop_assert!(identity(&Secret::new(bytes.clone())).is_err());
        drop(identities(&Secret::new(bytes)));
        drop(recipient(&text));
        drop(recipient(&format!("ssh-ed25519 {text}")));
    }
}
