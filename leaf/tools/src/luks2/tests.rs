use super::*;

const SIZE_OF_ONE: usize = 0x4000;
const OURS: &str =
    r#"{"keyslots":{"0":{}},"tokens":{"3":{"type":"bedplate","keyslots":[],"plan":"p"}}}"#;

/// One copy, as libcryptsetup writes it.
fn one(place: u64, sequence: u64, json: &str) -> Vec<u8> {
    let mut bytes = vec![0; SIZE_OF_ONE];
    bytes[..6].copy_from_slice(MAGICS[usize::from(place > 0)]);
    bytes[VERSION].copy_from_slice(&[0, 2]);
    bytes[SIZE].copy_from_slice(&(SIZE_OF_ONE as u64).to_be_bytes());
    bytes[SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
    bytes[OFFSET].copy_from_slice(&place.to_be_bytes());
    bytes[ALGORITHM.start..ALGORITHM.start + 6].copy_from_slice(b"sha256");
    bytes[168..204].copy_from_slice(b"6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    bytes[BINARY..BINARY + json.len()].copy_from_slice(json.as_bytes());
    let sum = Sha256::digest(&bytes);
    bytes[CHECKSUM.start..CHECKSUM.start + sum.len()].copy_from_slice(&sum);
    bytes
}

/// Both copies, whole.
pub(crate) fn both(first: u64, second: u64) -> Vec<u8> {
    [one(0, first, OURS), one(SIZE_OF_ONE as u64, second, OURS)].concat()
}

/// A device with sectors that it does not give out.
fn look_with(bytes: &[u8], bad: &[usize]) -> Copies {
    look_at(&|place, length| {
        let from = usize::try_from(place).unwrap().min(bytes.len());
        let part = from..(from + length).min(bytes.len());
        match bad.iter().any(|sector| part.contains(&(sector * 512))) {
            true => Err(io::Error::from_raw_os_error(5)),
            false => Ok(bytes[part].to_vec()),
        }
    })
}

fn look_in(bytes: &[u8]) -> Copies {
    look_with(bytes, &[])
}

#[test]
fn tokens_are_found_by_number() {
    let found = look_in(&both(1, 1)).into_header().unwrap().unwrap();
    assert_eq!(found.uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    assert_eq!((found.tokens["3"]["plan"].as_str(), found.keyslots), (Some("p"), 1));
}

#[test]
fn t46_one_whole_copy_is_a_whole_header() {
    let good = both(1, 1);
    assert_eq!(look_in(&good).damaged(), None);
    for (at, damaged) in [(0, "primary"), (0x300, "primary"), (BINARY + 3, "primary")] {
        for offset in [0, SIZE_OF_ONE] {
            let mut bad = good.clone();
            bad[at + offset] ^= 0xff;
            let copies = look_in(&bad);
            let damaged = if offset == 0 { damaged } else { "secondary" };
            assert_eq!(copies.damaged(), Some(damaged), "byte {at} of the copy at {offset}");
            assert!(copies.are_there() && copies.into_header().unwrap().is_some());
        }
    }
    // The first copy is gone with everything before the second.
    let mut zeroed = good;
    zeroed[..SIZE_OF_ONE].fill(0);
    assert!(look_in(&zeroed).into_header().unwrap().is_some());
}

#[test]
fn t46_a_header_is_torn_only_when_neither_copy_is_whole() {
    let mut torn = both(1, 1);
    torn[BINARY + 3] ^= 1;
    torn[SIZE_OF_ONE + BINARY + 3] ^= 1;
    let copies = look_in(&torn);
    assert!(copies.are_there());
    assert_eq!(copies.damaged(), None);
    assert_eq!(copies.into_header().unwrap(), None);
    assert!(!look_in(&[0; 100]).are_there());
    assert!(!look_in(&vec![0x5a; 8 << 20]).are_there());
}

#[test]
fn t46_a_bad_sector_is_unreadable_and_never_no_header() {
    let (good, second) = (both(1, 1), SIZE_OF_ONE / 512);
    for sector in [0, 7, 8, 31] {
        let found = look_with(&good, &[sector]);
        assert_eq!(found.damaged(), Some("primary"), "sector {sector}");
        assert!(found.into_header().unwrap().is_some());
        let error = look_with(&good, &[sector, second + sector]).into_header().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
    let blank = vec![0; 8 << 20];
    assert!(look_with(&blank, &[0]).into_header().is_err());
    assert!(look_with(&blank, &[second]).into_header().is_err());
}

#[test]
fn t46_of_two_whole_copies_the_newer_counts() {
    let older = r#"{"tokens":{}}"#;
    let second = SIZE_OF_ONE as u64;
    for (first, other) in
        [(one(0, 3, older), one(second, 4, OURS)), (one(0, 4, OURS), one(second, 3, older))]
    {
        let found = look_in(&[first, other].concat()).into_header().unwrap().unwrap();
        assert_eq!((found.sequence, found.tokens.len()), (4, 1));
    }
}

#[test]
fn a_copy_at_another_place_than_it_says_is_none() {
    // The start of a disk image that stands on a disk, for example.
    let moved = [vec![0; SIZE_OF_ONE], one(0, 1, OURS)].concat();
    assert!(!look_in(&moved).are_there());
    let late = [vec![0; 2 * SIZE_OF_ONE], one(SIZE_OF_ONE as u64, 1, OURS)].concat();
    assert!(look_in(&late).into_header().unwrap().is_none());
}

#[test]
fn t04_a_crafted_header_is_no_header() {
    let good = both(1, 1);
    for at in 0..4300 {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        drop(look_in(&bad));
        drop(look_in(&good[..at]));
    }
    let mut huge = good[..SIZE_OF_ONE].to_vec();
    huge[SIZE].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(look_in(&huge).into_header().unwrap(), None);
}
