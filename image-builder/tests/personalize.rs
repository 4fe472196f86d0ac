//! Personalisation of a real ISO 9660 image, made by the tool that makes the medium.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::answers::{ANSWERS_FILE, HEADER_BYTES, Header};
use bedplate_image_builder::answers::{Answers, Repository};
use bedplate_image_builder::owned::Owned;
use bedplate_image_builder::personalize::{personalize, read_answers, undo};
use bedplate_tools::xorriso;

const CAPACITY: usize = 64 << 10;

fn medium(directory: &Path) -> PathBuf {
    let put = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let mut area = Header::empty(CAPACITY as u64).encode();
    area.resize(HEADER_BYTES + CAPACITY, 0);
    let (area, esp) = (put("area", &area), put("esp", &vec![0; 1 << 20]));
    let (before, after) = (put("before", &[1; 5000]), put("after", &[2; 5000]));
    let output = directory.join("medium.iso");
    let files: [(&str, &Path); 3] =
        [("live/aaa", &before), (ANSWERS_FILE, &area), ("live/zzz", &after)];
    let request =
        xorriso::Image { output: &output, volume: "TEST", esp: &esp, bios: None, files: &files };
    xorriso::make(&request).unwrap();
    output
}

fn answers(size: usize) -> Answers {
    let flake = [("flake.nix".to_owned(), vec![b'x'; size])];
    Answers { host: "schema = 1\n".to_owned(), repository: Repository::Files(flake.into()) }
}

#[test]
fn t24_answers_are_written_in_place_and_leave_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let iso = medium(directory.path());
    let original = fs::read(&iso).unwrap();
    assert_eq!(read_answers(&iso).unwrap(), None);

    personalize(&iso, &answers(20_000)).unwrap();
    assert_eq!(read_answers(&iso).unwrap(), Some(answers(20_000)));
    personalize(&iso, &answers(10)).unwrap();
    assert_eq!(read_answers(&iso).unwrap(), Some(answers(10)));
    let written = fs::read(&iso).unwrap();
    assert_eq!(written.len(), original.len());
    let changed: Vec<usize> =
        (0..written.len()).filter(|at| written[*at] != original[*at]).collect();
    assert!(changed.last().unwrap() - changed[0] < HEADER_BYTES + 4096, "old answers are left");

    undo(&iso).unwrap();
    assert!(fs::read(&iso).unwrap() == original);
}

#[test]
fn t13_answers_that_do_not_fit_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let iso = medium(directory.path());
    let original = fs::read(&iso).unwrap();
    let error = personalize(&iso, &answers(CAPACITY)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("do not fit"), "{source}");
    assert!(fs::read(&iso).unwrap() == original);
}

#[test]
fn f7_damaged_answers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let iso = medium(directory.path());
    personalize(&iso, &answers(1000)).unwrap();
    let mut bytes = fs::read(&iso).unwrap();
    let at = bytes.windows(16).position(|window| window == b"BEDPLATE-ANSWERS").unwrap();
    bytes[at + HEADER_BYTES + 700] ^= 1;
    fs::write(&iso, bytes).unwrap();
    assert!(read_answers(&iso).is_err());
}

#[test]
fn a_repository_that_does_not_fit_is_refused_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let iso = medium(directory.path());
    let before = fs::read(&iso).unwrap();
    let owned = Owned { bundle: vec![1; 17 << 20], description: None };
    let answers = Answers { repository: Repository::Owned(owned), ..answers(1) };
    let said = personalize(&iso, &answers).unwrap_err().to_string();
    assert!(said.contains("17825792") && said.contains("nothing was written"), "{said}");
    assert!(fs::read(&iso).unwrap() == before);
}
