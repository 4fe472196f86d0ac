use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::ssh;

fn host() -> Identity {
    let key = include_bytes!("../../tests/fixtures/ssh-ed25519-key");
    ssh::identity(&Secret::new(key.to_vec())).unwrap()
}

fn admin() -> Identity {
    let key = include_bytes!("../../tests/fixtures/age-keys.txt");
    ssh::identities(&Secret::new(key.to_vec())).unwrap().remove(0)
}

#[test]
fn what_is_sealed_for_a_key_is_opened_by_it_alone() {
    let secret = Secret::new(b"correct horse".to_vec());
    let file = seal(&secret, &[host().recipient()]).unwrap();
    assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"));
    assert_eq!(open(&file, &[admin(), host()]).unwrap(), secret);
    let error = open(&file, &[admin()]).unwrap_err().to_string();
    assert!(error.contains(admin().recipient().as_str()), "{error}");
    assert!(matches!(open(&file, &[]), Err(AgeError::OtherKeys(_))));
    assert!(matches!(seal(&secret, &[]), Err(AgeError::Nobody)));
}

#[test]
fn a_changed_or_cut_file_does_not_open() {
    let file = seal(&Secret::new(vec![7; 300]), &[host().recipient()]).unwrap();
    for length in [0, 1, 40, file.len() / 2, file.len() - 40] {
        assert!(open(&file[..length], &[host()]).is_err(), "{length}");
    }
}

#[test]
fn a_passphrase_opens_what_it_sealed() {
    let (secret, words) = (Secret::new(b"key".to_vec()), Secret::new(b"one two".to_vec()));
    for cost in [Cost::Usual, Cost::Least] {
        let file = seal_with_passphrase(&secret, &words, cost).unwrap();
        assert_eq!(open_with_passphrase(&file, &words).unwrap(), secret);
    }
    let file = seal_with_passphrase(&secret, &words, Cost::Least).unwrap();
    let other = Secret::new(b"another".to_vec());
    assert!(matches!(open_with_passphrase(&file, &other), Err(AgeError::WrongPassphrase)));
    assert!(matches!(open(&file, &[host()]), Err(AgeError::Passphrase)));
    let keyed = seal(&secret, &[host().recipient()]).unwrap();
    assert!(matches!(open_with_passphrase(&keyed, &words), Err(AgeError::NoPassphrase)));
}

#[test]
fn the_program_age_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let to = host().recipient();
    std::fs::write(path("plain"), "from age").unwrap();
    let sealed = Command::new("age").args(["-r", to.as_str()]).arg(path("plain")).output().unwrap();
    assert_eq!(open(&sealed.stdout, &[host()]).unwrap().expose(), b"from age");
    let ours = seal(&Secret::new(b"from us".to_vec()), &[to]).unwrap();
    std::fs::write(path("sealed"), ours).unwrap();
    std::fs::write(path("identity"), host().to_secret().expose()).unwrap();
    let files = [path("identity"), path("sealed")];
    let opened = Command::new("age").args(["-d", "-i"]).args(files).output().unwrap();
    assert_eq!(opened.stdout, b"from us");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
        prop_assert!(open(&bytes, &[host()]).is_err());
    }
}

#[test]
fn keys_that_open_a_file_are_counted_and_grease_is_not() {
    let secret = Secret::new(b"correct horse".to_vec());
    // Grease is put in at random.
    for _ in 0..20 {
        let one = seal(&secret, &[host().recipient()]).unwrap();
        let two = seal(&secret, &[host().recipient(), admin().recipient()]).unwrap();
        assert_eq!((openers(&one).unwrap(), openers(&two).unwrap()), (1, 2));
    }
    let words = seal_with_passphrase(&secret, &secret, Cost::Least).unwrap();
    assert_eq!(openers(&words).unwrap(), 1);
    assert!(openers(b"text").is_err());
}
