//! Which strings may stand in a document (T16, T17, T18).
//!
//! Every string ends up in a path, an argv, a unit file, XML, Nix or on a terminal. The
//! rules list what is allowed, so that nothing has to be quoted correctly later.

mod devices;
mod names;
mod paths;
mod ssh;

use bedplate_model::name::is_sha256;
use uuid::Uuid;

use super::problem::quote;

pub use devices::{by_id, mac, serial, usb_id, usb_port};
pub use names::{host_name, interface, package, pool, role, user, vm, volume_id};
pub use paths::{
    absolute_path, disk_file, mount_point, relative_path, repository_path, secret_file, sops_file,
    sops_key,
};
pub use ssh::ssh_key;

/// What is wrong with a string and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Wrong {
    fn new(text: &str, what: &str, help: &str) -> Self {
        Self { message: format!("{} is not {what}", quote(text)), help: help.to_owned() }
    }

    /// The same, saying which key it is about.
    pub(super) fn about(self, path: &str) -> Self {
        Self { message: format!("`{path}`: {}", self.message), help: self.help }
    }
}

/// A check of one string.
pub type Rule = fn(&str) -> Result<(), Wrong>;

pub(super) fn require(holds: bool, text: &str, what: &str, help: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong::new(text, what, help)) }
}

pub(super) fn only(text: &str, extra: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

pub(super) fn starts_with(text: &str, allowed: fn(&char) -> bool) -> bool {
    text.chars().next().as_ref().is_some_and(allowed)
}

pub(super) fn starts_plainly(text: &str) -> bool {
    starts_with(text, char::is_ascii_alphanumeric)
}

fn hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A UUIDv4, with its hyphens.
pub fn uuid_v4(text: &str) -> Result<(), Wrong> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
    let fits = id.is_some_and(|id| id.get_version_num() == 4);
    require(fits, text, "a UUIDv4", "write one from `uuidgen --random`")
}

/// A version of NixOS such as `26.05`.
pub fn state_version(text: &str) -> Result<(), Wrong> {
    let fits = text.split_once('.').is_some_and(|(year, month)| {
        year.len() == 2 && year.bytes().all(|b| b.is_ascii_digit()) && matches!(month, "05" | "11")
    });
    require(fits, text, "a NixOS release", "write it as \"26.05\"")
}

/// Files beside the zones that are none, zones that stand for no time, and directories of zones.
#[rustfmt::skip]
const NO_ZONES: [&str; 29] = [
    "leapseconds", "posixrules", "localtime", "Factory", "SECURITY", "tzdata",
    "Africa", "America", "America/Argentina", "America/Indiana", "America/Kentucky",
    "America/North_Dakota", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil",
    "Canada", "Chile", "Etc", "Europe", "Indian", "Mexico", "Pacific", "US", "SystemV", "posix",
    "right",
];

/// IANA time zone.
pub fn timezone(text: &str) -> Result<(), Wrong> {
    let parts: Vec<&str> = text.split('/').collect();
    let fits = parts.len() <= 3
        && parts
            .iter()
            .all(|part| starts_with(part, char::is_ascii_alphabetic) && only(part, "_+-"))
        && !NO_ZONES.contains(&text)
        && text.len() <= 64;
    require(
        fits,
        text,
        "a time zone",
        "write an IANA name such as \"Europe/Brussels\" or \"UTC\"",
    )?;
    match text.strip_prefix("right/") {
        // Such zones count leap seconds, and no clock of Linux does.
        Some(zone) => Err(Wrong {
            message: format!("{} is seconds off: it counts leap seconds twice", quote(text)),
            help: format!("write \"{zone}\""),
        }),
        None => Ok(()),
    }
}

/// UTF-8 locale.
pub fn locale(text: &str) -> Result<(), Wrong> {
    let language = text.strip_suffix(".UTF-8").unwrap_or("");
    let fits = language == "C"
        || language.split_once('_').is_some_and(|(tongue, country)| {
            (2..=3).contains(&tongue.len())
                && tongue.bytes().all(|b| b.is_ascii_lowercase())
                && country.len() == 2
                && country.bytes().all(|b| b.is_ascii_uppercase())
        });
    require(fits, text, "a UTF-8 locale", "write \"C.UTF-8\" or one such as \"en_US.UTF-8\"")
}

/// SHA-256 or plan hash.
pub fn sha256(text: &str) -> Result<(), Wrong> {
    require(is_sha256(text), text, "a SHA-256", "write 64 hexadecimal digits in lower case")
}

/// restic's id of a snapshot, or `latest`.
pub fn snapshot(text: &str) -> Result<(), Wrong> {
    require(
        text == "latest" || (hexadecimal(text) && (8..=64).contains(&text.len())),
        text,
        "a snapshot",
        "write \"latest\", or the id that `bedplate-host backup list` shows",
    )
}

/// A password of a backup in a file on the machine, which is lost with it (T41).
pub fn lost_with_the_machine(text: &str) -> Result<(), Wrong> {
    let message = format!("{} is on the machine only, and is lost with it", quote(text));
    let help = "write `stick = \"bedplate/restic\"`, or keep it in the repository with sops or age";
    Err(Wrong { message, help: help.into() })
}

/// systemd calendar expression.
pub fn calendar(text: &str) -> Result<(), Wrong> {
    let fits = starts_with(text, |c| c.is_ascii_alphanumeric() || *c == '*')
        && only(text, " *:,./~-")
        && text.len() <= 100;
    require(
        fits,
        text,
        "a systemd calendar expression",
        "write \"daily\", or one such as \"Mon..Fri 03:30\"",
    )
}

/// One option of exports(5).
pub fn export_option(text: &str) -> Result<(), Wrong> {
    const WORDS: [&str; 17] = [
        "rw",
        "ro",
        "sync",
        "async",
        "wdelay",
        "no_wdelay",
        "subtree_check",
        "no_subtree_check",
        "root_squash",
        "no_root_squash",
        "all_squash",
        "no_all_squash",
        "secure",
        "insecure",
        "crossmnt",
        "nohide",
        "no_acl",
    ];
    let number = text
        .strip_prefix("anonuid=")
        .or_else(|| text.strip_prefix("anongid="))
        .or_else(|| text.strip_prefix("fsid="))
        .is_some_and(|number| {
            (1..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        });
    let security = text.strip_prefix("sec=").is_some_and(|list| {
        list.split(':').all(|word| matches!(word, "sys" | "krb5" | "krb5i" | "krb5p"))
    });
    require(
        WORDS.contains(&text) || number || security,
        text,
        "an option of exports(5)",
        "write options such as \"rw\", \"ro\", \"sync\", \"no_subtree_check\", \"no_root_squash\", \"fsid=1\"",
    )
}

#[cfg(test)]
pub(super) mod tests;
