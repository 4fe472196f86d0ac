//! A header on a plain file: formatting, keys, token and seal.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use bedplate_luks::{
    ArgonCost, Derivation, Format, HEADER_BYTES, KEYFILE_SLOT, PASSPHRASE_SLOT, Standing, Token,
    attempt, backup_header, backup_sealed, format, is_open, keyslots, read_beside, read_token,
    seal, standing, test_key, uuid, write_beside,
};
use tempfile::NamedTempFile;
use uuid::Uuid;

const KEYFILE: &[u8] = &[0, 1, 2, 255, 10, 0, 7];
const PASSPHRASE: &[u8] = b"correct horse";
const UUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

fn blank() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(32 << 20).unwrap();
    file
}

fn request<'a>(device: &'a Path, token: &'a Token) -> Format<'a> {
    Format {
        device,
        uuid: UUID,
        label: "bedplate-os",
        keyfile: KEYFILE,
        passphrase: PASSPHRASE,
        argon: ArgonCost::minimal(),
        token,
    }
}

fn sections() -> BTreeMap<String, String> {
    BTreeMap::from([("disks.os".to_owned(), "0a1b2c3d".to_owned())])
}

fn formatted() -> NamedTempFile {
    let file = blank();
    let token = Token::unsealed("sha256-abc", &sections());
    format(&request(file.path(), &token)).unwrap();
    file
}

#[test]
fn t22_a_copy_of_a_header_is_that_of_a_finished_volume() {
    let file = formatted();
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("header");
    backup_sealed(file.path(), &copy).unwrap();
    let (found, token) = read_token(&copy).unwrap().unwrap();
    assert!(found == UUID && token.sealed);
    assert!(test_key(&copy, Some(KEYFILE_SLOT), KEYFILE).unwrap());
    // The volume itself is finished only when everything else is.
    assert!(!read_token(file.path()).unwrap().unwrap().1.sealed);
}

#[test]
fn both_keyslots_open_and_no_other_key_does() {
    let file = formatted();
    let device = file.path();
    assert!(test_key(device, Some(KEYFILE_SLOT), KEYFILE).unwrap());
    assert!(test_key(device, Some(PASSPHRASE_SLOT), PASSPHRASE).unwrap());
    assert!(test_key(device, None, PASSPHRASE).unwrap());
    assert!(!test_key(device, Some(KEYFILE_SLOT), PASSPHRASE).unwrap());
    assert!(!test_key(device, Some(PASSPHRASE_SLOT), KEYFILE).unwrap());
    assert!(!test_key(device, Some(5), KEYFILE).unwrap());
}

#[test]
fn f5_a_wrong_or_empty_key_does_not_fit() {
    let file = formatted();
    assert!(!test_key(file.path(), None, b"wrong").unwrap());
    assert!(!test_key(file.path(), Some(KEYFILE_SLOT), b"").unwrap());
}

#[test]
fn t21_each_keyslot_is_known_and_one_that_is_not_there_costs_nothing() {
    let file = formatted();
    assert_eq!(keyslots(file.path()).unwrap(), [KEYFILE_SLOT, PASSPHRASE_SLOT]);
    assert_eq!(attempt(file.path(), None, 5, KEYFILE, false).unwrap(), None);
    for (slot, derivation) in
        [(KEYFILE_SLOT, Derivation::Pbkdf2), (PASSPHRASE_SLOT, Derivation::Argon2id)]
    {
        let tried = attempt(file.path(), None, slot, b"wrong", false).unwrap().unwrap();
        assert_eq!((tried.slot, tried.fits, tried.derivation), (slot, false, derivation));
        let word = if slot == KEYFILE_SLOT { "pbkdf2" } else { "argon2id" };
        assert!(tried.to_string().starts_with(&format!("refused by keyslot {slot} ({word}) in ")));
    }
}

#[test]
fn the_seal_is_kept_in_the_header() {
    let file = formatted();
    let (found, token) = read_token(file.path()).unwrap().unwrap();
    assert_eq!(found, UUID);
    assert_eq!(uuid(file.path()).unwrap(), UUID);
    assert_eq!(token, Token::unsealed("sha256-abc", &sections()));
    seal(file.path()).unwrap();
    seal(file.path()).unwrap();
    let (_, token) = read_token(file.path()).unwrap().unwrap();
    assert!(token.sealed && token.sealed_at.is_some(), "{token:?}");
    assert_eq!((token.plan.as_str(), token.sections), ("sha256-abc", sections()));
    assert!(test_key(file.path(), Some(KEYFILE_SLOT), KEYFILE).unwrap());
}

#[test]
fn t07_a_foreign_device_has_no_token_and_cannot_be_sealed() {
    let file = blank();
    assert_eq!(read_token(file.path()).unwrap(), None);
    let error = seal(file.path()).unwrap_err().to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    assert!(read_token(Path::new("/nonexistent")).is_err());
}

#[test]
fn an_empty_key_is_refused_before_anything_is_written() {
    let file = blank();
    let token = Token::unsealed("", &sections());
    let empty = Format { keyfile: b"", ..request(file.path(), &token) };
    assert!(format(&empty).is_err());
    assert_eq!(read_token(file.path()).unwrap(), None);
}

#[test]
fn t22_a_saved_header_opens_like_the_original() {
    let file = formatted();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("os.header");
    backup_header(file.path(), &copy).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), HEADER_BYTES);
    assert!(test_key(&copy, Some(PASSPHRASE_SLOT), PASSPHRASE).unwrap());
    // Put back after the installation, it must not look like an unfinished one.
    seal(&copy).unwrap();
    assert!(read_token(&copy).unwrap().unwrap().1.sealed);
    assert!(!read_token(file.path()).unwrap().unwrap().1.sealed);
    assert!(test_key(&copy, Some(KEYFILE_SLOT), KEYFILE).unwrap());
}

#[test]
fn a_header_encrypts_by_4_kib_and_its_keyslots_hash_by_sha512() {
    let file = formatted();
    let header = std::fs::read(file.path()).unwrap();
    let json = header[4096..].split(|byte| *byte == 0).next().unwrap();
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["segments"]["0"]["sector_size"], 4096);
    for slot in ["0", "1"] {
        assert_eq!(json["keyslots"][slot]["af"]["hash"], "sha512", "keyslot {slot}");
    }
}

#[test]
fn nothing_is_open_that_was_not_opened() {
    assert!(!is_open("bedplate-test-nothing"));
}

#[test]
fn t44_a_mark_is_kept_beside_the_seal_and_neither_disturbs_the_other() {
    const KIND: &str = "bedplate-pool";
    let file = formatted();
    let device = file.path();
    assert_eq!(read_beside(device, KIND).unwrap(), None);
    let mark = |id: &str| serde_json::json!({ "line": [id], "type": "another", "keyslots": ["0"] });
    write_beside(device, KIND, &mark("a")).unwrap();
    seal(device).unwrap();
    write_beside(device, KIND, &mark("b")).unwrap();
    let found = read_beside(device, KIND).unwrap().unwrap();
    assert_eq!((&found["line"][0], &found["keyslots"]), (&"b".into(), &serde_json::json!([])));
    let (_, token) = read_token(device).unwrap().unwrap();
    assert!(token.sealed && token.sections == sections(), "{token:?}");
    assert!(test_key(device, Some(KEYFILE_SLOT), KEYFILE).unwrap());
    // As long as a mark can become, beside both keyslots and the seal.
    let long: Vec<String> = (0..96).map(|era| format!("{era:012}")).collect();
    let members: Vec<Uuid> = (0..16).map(Uuid::from_u128).collect();
    let mark = serde_json::json!({ "line": long, "members": members });
    write_beside(device, KIND, &mark).unwrap();
    assert_eq!(read_beside(device, KIND).unwrap().unwrap()["members"][15], members[15].to_string());
    assert!(read_beside(blank().path(), KIND).unwrap().is_none());
}

/// The first copy of a header is written first: a cut leaves it torn, and the second one whole and
/// without the seal.
#[test]
fn t46_a_header_torn_while_it_was_sealed_is_sealed_again() {
    use std::os::unix::fs::FileExt as _;
    let file = formatted();
    let unsealed = std::fs::read(file.path()).unwrap();
    seal(file.path()).unwrap();
    file.as_file().write_all_at(&unsealed[16 << 10..32 << 10], 16 << 10).unwrap();
    file.as_file().write_all_at(&[0xff; 512], 4096).unwrap();
    let torn = std::fs::read(file.path()).unwrap();
    let found = standing(file.path(), UUID, "sha256-abc").unwrap();
    assert!(matches!(found, Standing::Begun(token) if !token.sealed));
    assert!(std::fs::read(file.path()).unwrap() == torn, "a look writes nothing");
    seal(file.path()).unwrap();
    assert!(read_token(file.path()).unwrap().unwrap().1.sealed);
    assert!(test_key(file.path(), Some(KEYFILE_SLOT), KEYFILE).unwrap());
    assert!(test_key(file.path(), Some(PASSPHRASE_SLOT), PASSPHRASE).unwrap());
}

#[test]
fn t46_only_a_header_that_no_key_opens_may_be_made_anew() {
    use std::os::unix::fs::FileExt as _;
    let file = formatted();
    let look = || standing(file.path(), UUID, "sha256-abc").unwrap();
    assert!(matches!(look(), Standing::Begun(_)));
    assert_eq!(standing(file.path(), UUID, "another").unwrap(), Standing::Other);
    assert_eq!(standing(file.path(), Uuid::nil(), "sha256-abc").unwrap(), Standing::Other);
    // Either copy alone, then neither.
    file.as_file().write_all_at(&[0; 512], 0).unwrap();
    assert!(matches!(look(), Standing::Begun(_)));
    file.as_file().write_all_at(&[0xff; 16], (16 << 10) + 5000).unwrap();
    assert_eq!(look(), Standing::Free);
    assert_eq!(standing(blank().path(), UUID, "sha256-abc").unwrap(), Standing::Free);
}
