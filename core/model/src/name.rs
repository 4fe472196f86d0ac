//! Names that were looked at: whoever holds one knows that it can stand in a path, an argument, a unit, XML,
//! Nix and on a terminal.
//!
//! Each reads as the text it is. Text becomes one by `parse`, and by reading a file that holds one: both refuse
//! what cannot stand there. The empty one, which is what `default` gives, stands in the decoder's draft of a
//! document for a value that was refused; no document that leaves the decoder holds one.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is no name of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}")]
pub struct NotAName {
    text: String,
    kind: &'static str,
}

macro_rules! names {
    ($($(#[$about:meta])* $name:ident, $kind:literal, $rule:path;)*) => {$(
        $(#[$about])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Whether this text is such a name.
            pub fn fits(text: &str) -> bool {
                $rule(text)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                if Self::fits(&text) { Ok(Self(text)) } else { Err(NotAName { text, kind: $kind }) }
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                Self::try_from(text.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                self.0 == text
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                self.0 == *text
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, text: &String) -> bool {
                self.0 == *text
            }
        }

        impl PartialEq<$name> for str {
            fn eq(&self, name: &$name) -> bool {
                self == name.0
            }
        }

        impl PartialEq<$name> for &str {
            fn eq(&self, name: &$name) -> bool {
                *self == name.0
            }
        }

        impl PartialEq<$name> for String {
            fn eq(&self, name: &$name) -> bool {
                *self == name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

names! {
    /// The role of a disk: its name in `[disks.<role>]`.
    Role, "the role of a disk", is_role;
    /// The name of a pool in `[pools.<name>]`, which is never `os`.
    PoolName, "the name of a pool", is_pool;
    /// The name of a guest of any kind, such as the one in `[vms.<name>]`.
    GuestName, "the name of a guest", is_guest;
    /// A name under `/dev/disk/by-id` of a whole disk, without the directory.
    ByIdName, "a name under /dev/disk/by-id of a whole disk", is_by_id;
    /// The name of an opened volume of ours under `/dev/mapper`.
    MapperName, "a name of ours under /dev/mapper", is_mapper;
    /// The hash of a plan: SHA-256 in lower-case hexadecimal.
    PlanHash, "the hash of a plan", is_sha256;
    /// The address of one network interface (a unicast MAC), in lower case with colons.
    Mac, "the MAC address of an interface", is_mac;
}

/// What the names of opened volumes of ours begin with.
const MAPPER_PREFIX: &str = "bedplate-";

impl PlanHash {
    /// Of a SHA-256.
    pub fn of(digest: [u8; 32]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl MapperName {
    /// That of the volume of a role whose disk was replaced `epoch` times.
    pub(crate) fn of(role: &Role, epoch: u32) -> Self {
        match epoch {
            0 => Self(format!("{MAPPER_PREFIX}{role}")),
            _ => Self(format!("{MAPPER_PREFIX}{role}.{epoch}")),
        }
    }
}

impl Mac {
    /// Of its octets, of which the first is even.
    pub(crate) fn of([first, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(format!("{first:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    }
}

fn only(text: &str, extra: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_alphanumeric() || extra.contains(letter))
}

fn starts_with(text: &str, allowed: fn(&char) -> bool) -> bool {
    text.chars().next().as_ref().is_some_and(allowed)
}

/// GPT holds 36 letters of a partition's name, and the volume's label and the unit's name hold more than that
/// of what is around them.
fn is_role(text: &str) -> bool {
    starts_with(text, char::is_ascii_lowercase)
        && only(text, "_-")
        && !text.chars().any(|letter| letter.is_ascii_uppercase())
        && text.len() <= 24
}

fn is_pool(text: &str) -> bool {
    text != "os" && is_role(text)
}

fn is_guest(text: &str) -> bool {
    starts_with(text, char::is_ascii_alphanumeric) && only(text, "_-") && text.len() <= 48
}

fn is_by_id(text: &str) -> bool {
    let is_partition = text.rsplit_once("-part").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_by_id_of_anything(text) && !is_partition
}

/// Whether text can be a name under `/dev/disk/by-id`, of a whole disk or of a partition.
pub fn is_by_id_of_anything(text: &str) -> bool {
    starts_with(text, char::is_ascii_alphanumeric) && only(text, "#+-.:=@_,") && text.len() <= 200
}

fn is_mapper(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(MAPPER_PREFIX) else { return false };
    match rest.split_once('.') {
        None => is_role(rest),
        Some((role, epoch)) => is_role(role) && epoch.parse::<u32>().is_ok(),
    }
}

/// Whether text is a SHA-256 in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_digit)
}

fn is_mac(text: &str) -> bool {
    is_any_mac(text) && text == text.to_ascii_lowercase() && is_unicast(text)
}

/// Whether text has the form of a MAC address that is not zero, in letters of any case.
pub fn is_any_mac(text: &str) -> bool {
    let octets: Vec<&str> = text.split(':').collect();
    let is_octet =
        |octet: &&str| octet.len() == 2 && octet.bytes().all(|it| it.is_ascii_hexdigit());
    octets.len() == 6 && octets.iter().all(is_octet) && octets.iter().any(|octet| *octet != "00")
}

/// Whether a MAC address is that of one interface: its first octet is even.
pub fn is_unicast(mac: &str) -> bool {
    let first = mac.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok());
    first.is_some_and(|octet| octet & 1 == 0)
}

#[cfg(test)]
mod tests;
