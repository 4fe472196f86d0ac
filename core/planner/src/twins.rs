//! Whether two entries of an inventory are one disk, and whether two disks can be told apart.

use bedplate_model::facts::DiskFacts;

/// Some firmware reports an empty string for a name it does not have, and pads those that it has.
pub(super) fn told(name: &Option<String>) -> Option<&str> {
    name.as_deref().map(str::trim).filter(|name| !name.is_empty())
}

fn both_equal<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && a == b
}

fn both_differ(a: &Option<String>, b: &Option<String>) -> bool {
    told(a).zip(told(b)).is_some_and(|(a, b)| a != b)
}

/// Whether two entries are one disk, whatever their names (T02).
pub(super) fn same(a: &DiskFacts, b: &DiskFacts) -> bool {
    a.number == b.number
        || both_equal(&a.diskseq, &b.diskseq)
        || (one_wwn(a, b) && !contradicted(a, b))
}

/// Whether both report the same WWN. Cheap disks share one, so that it proves nothing by itself.
pub(super) fn one_wwn(a: &DiskFacts, b: &DiskFacts) -> bool {
    told(&a.wwn).zip(told(&b.wwn)).is_some_and(|(a, b)| is_one_wwn(a, b))
}

/// One driver writes `naa.5000…`, another `0x5000…`, and either may use capitals.
fn is_one_wwn(a: &str, b: &str) -> bool {
    digits(a).eq_ignore_ascii_case(digits(b))
}

/// Whether something else says that two entries with one WWN are two disks (T56).
fn contradicted(a: &DiskFacts, b: &DiskFacts) -> bool {
    let one_serial = both_equal(&told(&a.serial), &told(&b.serial));
    both_differ(&a.serial, &b.serial)
        || both_differ(&a.model, &b.model)
        || (a.size, a.sector_size) != (b.size, b.sector_size)
        || (!one_serial && told(&a.wwn).is_some_and(is_placeholder))
}

/// What firmware writes that was given no WWN: zeros or ones in every bit, perhaps behind the kind
/// of the name, and perhaps with a number at the end.
fn is_placeholder(wwn: &str) -> bool {
    let digits = digits(wwn).bytes().filter(|byte| *byte != b'-');
    let of_kind = |(at, digit): &(usize, u8)| *at == 0 && matches!(digit, b'3' | b'5' | b'6');
    let rest: Vec<u8> = digits.enumerate().filter(|it| !of_kind(it)).map(|(_, it)| it).collect();
    let set = rest.iter().filter(|digit| **digit != b'0').count();
    set <= 1 || rest.iter().all(|digit| matches!(digit, b'f' | b'F'))
}

/// A WWN without the prefix that says what kind it is of: as names under `/dev/disk/by-id` have it.
pub(super) fn digits(wwn: &str) -> &str {
    const KINDS: [&str; 5] = ["0x", "naa.", "eui.", "uuid.", "nvme."];
    let kind = KINDS
        .iter()
        .find(|kind| wwn.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)));
    kind.map_or(wwn, |kind| &wwn[kind.len()..])
}

/// Whether another disk cannot be told from this one by its serial (T04).
pub(super) fn clone_of(disk: &DiskFacts, other: &DiskFacts) -> bool {
    disk.number != other.number
        && both_equal(&told(&disk.serial), &told(&other.serial))
        && told(&disk.wwn).zip(told(&other.wwn)).is_none_or(|(a, b)| is_one_wwn(a, b))
}

/// Whether two disks are parts of one device: namespaces of a controller, units of an enclosure.
pub(super) fn one_device(a: &DiskFacts, b: &DiskFacts) -> bool {
    a.transport == b.transport
        && both_equal(&told(&a.serial), &told(&b.serial))
        && !both_differ(&a.model, &b.model)
}
