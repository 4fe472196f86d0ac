use std::os::unix::fs::PermissionsExt as _;

use bedplate_secrets::age_file::Cost;

use super::*;
use bedplate_sample as sample;

const KEY: &str = include_str!("../../../leaf/secrets/tests/fixtures/ssh-ed25519-key");
const PUBLIC: &str = include_str!("../../../leaf/secrets/tests/fixtures/ssh-ed25519-key.pub");

fn words(text: &str) -> Secret {
    Secret::new(text.into())
}

fn sealed() -> Secret {
    let file =
        age_file::seal_with_passphrase(&words(KEY), &words("correct horse"), Cost::Least).unwrap();
    Secret::new(file)
}

/// Takes the key with these answers, one after the other.
fn taken(etc: &Path, sealed: &Secret, replace: bool, said: &[&str]) -> Result<Taken, TakeError> {
    let mut said = said.iter();
    let mut ask = || Ok(words(said.next().expect("asked too often")));
    take(&sample::intent(), etc, sealed, replace, &mut ask)
}

#[test]
fn a_prepared_key_is_put_in_place_for_root_alone() {
    let etc = tempfile::tempdir().unwrap();
    let done = taken(etc.path(), &sealed(), false, &["wrong", "correct horse"]).unwrap();
    assert_eq!(done, Taken::Written);
    let path = etc.path().join(HOST_KEY);
    assert_eq!(fs::read_to_string(&path).unwrap(), KEY);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    assert_eq!(ssh::recipient(&public).unwrap(), ssh::recipient(PUBLIC).unwrap());
}

#[test]
fn t26_a_key_that_is_there_is_left_alone_and_nobody_is_asked() {
    let etc = tempfile::tempdir().unwrap();
    let path = etc.path().join(HOST_KEY);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine").unwrap();
    assert_eq!(taken(etc.path(), &sealed(), false, &[]).unwrap(), Taken::HasKey);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(taken(etc.path(), &sealed(), true, &["correct horse"]).unwrap(), Taken::Written);
    assert_eq!(fs::read_to_string(&path).unwrap(), KEY);
}

#[test]
fn t26_the_key_of_another_host_is_refused() {
    let etc = tempfile::tempdir().unwrap();
    let directory = etc.path().join("nixos/nix/hosts/hypervisor");
    fs::create_dir_all(&directory).unwrap();
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm x";
    fs::write(directory.join("ssh_host_ed25519_key.pub"), line).unwrap();
    let error = taken(etc.path(), &sealed(), false, &["correct horse"]).unwrap_err();
    assert!(matches!(error, TakeError::OtherHost { .. }), "{error}");
    fs::write(directory.join("ssh_host_ed25519_key.pub"), PUBLIC).unwrap();
    assert!(taken(etc.path(), &sealed(), false, &["correct horse"]).is_ok());
}

#[test]
fn what_does_not_open_leaves_nothing_behind_and_shows_no_secret() {
    let etc = tempfile::tempdir().unwrap();
    let recipient = ssh::recipient(PUBLIC).unwrap();
    let for_admin = Secret::new(age_file::seal(&words(KEY), &[recipient]).unwrap());
    let no_key =
        age_file::seal_with_passphrase(&words("canary"), &words("correct horse"), Cost::Least)
            .unwrap();
    let errors = [
        taken(etc.path(), &sealed(), false, &["canary", "canary", "canary"]),
        taken(etc.path(), &for_admin, false, &["canary"]),
        taken(etc.path(), &Secret::new(no_key), false, &["correct horse"]),
    ]
    .map(Result::unwrap_err);
    assert!(matches!(errors, [TakeError::Passphrase, TakeError::Sealed { .. }, TakeError::Key(_)]));
    assert!(!format!("{errors:?}").contains("canary"));
    assert!(!is_there(etc.path()) && fs::read_dir(etc.path()).unwrap().next().is_none());
}

#[test]
fn t26_a_key_that_an_admin_opened_is_put_in_place_when_it_is_this_host_s() {
    let etc = tempfile::tempdir().unwrap();
    let directory = etc.path().join("nixos/nix/hosts/hypervisor");
    fs::create_dir_all(&directory).unwrap();
    let (host, path) = (sample::intent(), etc.path().join(HOST_KEY));
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm x";
    fs::write(directory.join("ssh_host_ed25519_key.pub"), line).unwrap();
    let error = put(&host, etc.path(), &words(KEY)).unwrap_err();
    assert!(matches!(error, TakeError::OtherHost { .. }), "{error}");
    // A file that is still sealed, or cut short, is no key.
    for none in ["", "canary", KEY.get(..KEY.len() / 2).unwrap()] {
        let error = put(&host, etc.path(), &words(none)).unwrap_err();
        assert!(matches!(error, TakeError::Key(_)), "{error}");
    }
    assert!(!is_there(etc.path()));
    fs::write(directory.join("ssh_host_ed25519_key.pub"), PUBLIC).unwrap();
    put(&host, etc.path(), &words(KEY)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), KEY);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
