//! Names under `/dev/disk/by-id`: which of them stay with a disk, and which do not (T56).

use super::choose::shown;
use super::fitness::NO_DISKS;
use super::twins::{clone_of, digits, one_device, one_wwn, told};
use bedplate_model::facts::{DiskFacts, Facts};

/// Names of what stands on a disk. They go with it, and another disk may get them.
const CONTENT: [(&str, &str); 3] =
    [("lvm-pv-uuid-", "an LVM physical volume"), ("dm-", "a mapping"), ("md-", "a RAID of Linux")];
/// A shorter WWN could stand in a name by chance.
const SHORTEST_WWN: usize = 8;

/// What a name is of, when it is that of what stands on a disk.
pub(super) fn of_content(id: &str) -> Option<&'static str> {
    CONTENT.iter().find_map(|(prefix, what)| id.starts_with(prefix).then_some(*what))
}

/// Why a name that stands for `disk` now is none to know it by, and what to do.
pub(super) fn wrong(id: &str, disk: &DiskFacts, facts: &Facts) -> Option<(String, String)> {
    if let Some(what) = of_content(id).filter(|_| !NO_DISKS.contains(&disk.transport.as_str())) {
        let message =
            format!("the name belongs to what stands on the disk ({what}) and goes with it");
        return Some((message, instead(disk, facts)));
    }
    if is_bare(id, disk, facts) {
        let message = "its NVMe controller has more than one namespace, and this name may stand \
                       for any of them";
        return Some((message.into(), instead(disk, facts)));
    }
    let mut sharing: Vec<&DiskFacts> = sharing(id, disk, facts).collect();
    if sharing.is_empty() {
        return None;
    }
    sharing.push(disk);
    let count = sharing.len();
    let all = several(sharing, described);
    Some((format!("{count} disks of the machine report this WWN: {all}"), instead(disk, facts)))
}

/// More disks are not listed.
pub(super) const MOST_LISTED: usize = 12;

/// Disks in the order of their names; of many the first, and how many more.
pub(super) fn several(mut disks: Vec<&DiskFacts>, told: fn(&DiskFacts) -> String) -> String {
    let more = first(&mut disks, MOST_LISTED);
    let names = disks.into_iter().map(told).collect::<Vec<_>>().join(", ");
    if more == 0 { names } else { format!("{names}, and {more} more") }
}

/// Leaves the first disks in the order of their names, and says how many more there were. Putting all
/// of thousands in order, for each of thousands, takes long.
pub(super) fn first(disks: &mut Vec<&DiskFacts>, most: usize) -> usize {
    let order = |a: &&DiskFacts, b: &&DiskFacts| first_name(a).cmp(first_name(b));
    let more = disks.len().saturating_sub(most);
    if more > 0 {
        disks.select_nth_unstable_by(most, order);
        disks.truncate(most);
    }
    disks.sort_unstable_by(order);
    more
}

fn instead(disk: &DiskFacts, facts: &Facts) -> String {
    match best(disk, facts) {
        Some(name) => format!("write `id = \"{}\"`, if this disk is meant", shown(name)),
        None => format!("the disk has no name of its own; {}", how_to_name(disk)),
    }
}

/// The name to write of a disk: its model and serial before its WWN.
pub fn best<'a>(disk: &'a DiskFacts, facts: &Facts) -> Option<&'a str> {
    let stays = |id: &&String| {
        of_content(id).is_none()
            && !is_bare(id, disk, facts)
            && sharing(id, disk, facts).next().is_none()
            && facts.disks.iter().filter(|other| other.has_id(id)).count() == 1
    };
    let mut names = disk.by_id.iter().filter(stays).collect::<Vec<_>>();
    names.sort_unstable_by_key(|name| (name.starts_with("wwn-"), *name));
    names.first().map(|name| name.as_str())
}

/// How a disk without a name under `/dev/disk/by-id` gets one.
pub(super) fn how_to_name(disk: &DiskFacts) -> &'static str {
    match disk.transport.as_str() {
        _ if told(&disk.serial).is_some() => {
            "it has a serial, but no name that is made of it alone: disconnect what shares its \
             name, or choose another disk"
        }
        "virtio" | "scsi" => {
            "it reports no serial: give it one in the definition of the VM (`serial=`) or in the \
             controller's setup"
        }
        "usb" => "it reports no serial: connect it without the adapter, or by another one",
        _ => "it reports no serial: choose a disk that does",
    }
}

/// The bare name of an NVMe controller, which has a second namespace.
fn is_bare(id: &str, disk: &DiskFacts, facts: &Facts) -> bool {
    let of_controller = |name: &String| {
        let number = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('_'));
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // udev writes `_` for what is blank within a serial.
    let serial = told(&disk.serial).map(|it| it.split_whitespace().collect::<Vec<_>>().join("_"));
    let ends_with_serial = serial.is_some_and(|serial| id.ends_with(&serial));
    let second = |other: &DiskFacts| {
        let one_controller = ends_with_serial && one_device(disk, other) && !clone_of(disk, other);
        other.by_id.iter().any(of_controller) || one_controller
    };
    disk.transport == "nvme"
        && id.starts_with("nvme-")
        && facts.disks.iter().any(|other| other.number != disk.number && second(other))
}

/// Other disks that report the WWN which the name is made of: it stands for any of them.
fn sharing<'a>(
    id: &str,
    disk: &'a DiskFacts,
    facts: &'a Facts,
) -> impl Iterator<Item = &'a DiskFacts> {
    let id = id.to_ascii_lowercase();
    let made_of_it = told(&disk.wwn).is_some_and(|wwn| {
        let digits = digits(wwn);
        digits.len() >= SHORTEST_WWN && id.contains(&digits.to_ascii_lowercase())
    });
    let other = move |other: &&DiskFacts| {
        made_of_it
            && other.number != disk.number
            && one_wwn(disk, other)
            // Paths of one disk, which are told of by their serial, and what lies above them.
            && !clone_of(disk, other)
            && ![&disk.transport, &other.transport].iter().any(|it| NO_DISKS.contains(&it.as_str()))
    };
    facts.disks.iter().filter(other)
}

/// A disk as its owner knows it: by name and serial.
pub(super) fn described(disk: &DiskFacts) -> String {
    match told(&disk.serial) {
        Some(serial) => format!("{} (serial {})", name_of(disk), shown(serial)),
        None => name_of(disk),
    }
}

/// The name of a disk that has no role.
pub(super) fn name_of(disk: &DiskFacts) -> String {
    shown(first_name(disk))
}

fn first_name(disk: &DiskFacts) -> &str {
    let names = disk.by_id.iter();
    let name = names.min_by_key(|name| (name.starts_with("wwn-"), *name));
    name.unwrap_or(&disk.kernel_name)
}
