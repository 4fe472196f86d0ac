//! Names: of hosts, disks, pools, machines, accounts, volumes, interfaces and packages.

use bedplate_model::name::{GuestName, Role};

use super::super::problem::quote;

use super::{Wrong, hexadecimal, only, require, starts_plainly, starts_with};

/// Names that every machine has for itself, as the hosts files of distributions have them.
const OWN_NAMES: [&str; 13] = [
    "broadcasthost",
    "ip6-allhosts",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-localnet",
    "ip6-mcastprefix",
    "localhost",
    "localhost4",
    "localhost6",
    "localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
];

/// Host name: an RFC 1123 label in lower case, which is not every machine's name for itself.
pub fn host_name(text: &str) -> Result<(), Wrong> {
    let first = text.split('.').next().unwrap_or_default();
    if OWN_NAMES.contains(&first.to_ascii_lowercase().as_str()) || text.ends_with(".localhost") {
        let message = format!("{} is every machine's name for itself", quote(text));
        return Err(Wrong { message, help: "write one that no other machine has".into() });
    }
    let label = !text.chars().any(|c| c.is_ascii_uppercase())
        && only(text, "-")
        && (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-');
    require(label, text, "a host name", "use a-z, 0-9 and inner `-`, at most 63 characters")
}

/// Names of disks, pools and backups: they become GPT names, mapper names and units.
pub fn role(text: &str) -> Result<(), Wrong> {
    require(
        Role::fits(text),
        text,
        "a name that can stand here",
        "use a-z, 0-9, `_` and `-`, a letter first, at most 24 characters",
    )
}

/// Names of pools: as roles, and never `os`.
pub fn pool(text: &str) -> Result<(), Wrong> {
    require(
        text != "os",
        text,
        "a name that can stand here",
        "`os` is the OS disk's; choose another",
    )?;
    role(text)
}

/// Names of virtual machines.
pub fn vm(text: &str) -> Result<(), Wrong> {
    require(
        GuestName::fits(text),
        text,
        "a name for a VM",
        "use letters, 0-9, `_` and `-`, at most 48 characters",
    )
}

/// Names of users and groups.
pub fn user(text: &str) -> Result<(), Wrong> {
    let fits = (starts_with(text, char::is_ascii_lowercase) || text.starts_with('_'))
        && only(text, "_-")
        && !text.chars().any(|c| c.is_ascii_uppercase())
        && text.len() <= 31;
    require(
        fits,
        text,
        "a user or group name",
        "use a-z, 0-9, `_` and `-`, a letter first, at most 31 characters",
    )
}

/// VFAT volume id.
pub fn volume_id(text: &str) -> Result<(), Wrong> {
    let fits = text.split_once('-').is_some_and(|(high, low)| {
        [high, low].iter().all(|half| half.len() == 4 && hexadecimal(&half.to_ascii_lowercase()))
    });
    require(fits, text, "a VFAT volume id", "write it as `blkid` shows it: \"1A2B-3C4D\"")
}

/// Name of a network interface.
pub fn interface(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text) && only(text, "_.-") && text.len() <= 15;
    require(
        fits,
        text,
        "the name of an interface",
        "write it as `ip link` shows it, at most 15 characters",
    )
}

/// A package of a Linux distribution.
pub fn package(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text) && only(text, ".+-") && text.len() <= 64;
    require(fits, text, "the name of a package", "write it as the guest's package manager does")
}
