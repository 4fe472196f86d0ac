//! From a host's ed25519 ssh key to the age key that belongs to it.
//!
//! The public key is a point on Ed25519 (RFC 8032, section 5.1.2); its Montgomery u coordinate
//! (RFC 7748, section 4.1) is an X25519 public key, and an age recipient is that as bech32 with
//! the prefix `age` (age-encryption.org/v1, "The X25519 recipient type"). The private key's scalar
//! is the first half of the SHA-512 of its seed (RFC 8032, section 5.1.5). `ssh-to-age` does the same,
//! so `.sops.yaml` files made with it hold the same recipients.

use std::fmt;
use std::str::FromStr;

use bech32::{ToBase32 as _, Variant};
use bedplate_tools::secret::Secret;
use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest as _, Sha512};
use ssh_key::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// A key that gives no age key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not in the format.
    #[error("this is no OpenSSH {what} key: {why}")]
    Format {
        /// `public` or `private`.
        what: &'static str,
        /// What the reader says; never a part of the key.
        why: String,
    },
    /// RSA, ECDSA, hardware keys.
    #[error("a key of the kind {0} gives no age key; only ssh-ed25519 does")]
    Kind(String),
    /// Locked by a passphrase.
    #[error("the private key is locked by a passphrase; a host key must not be")]
    Locked,
    /// No point, or one of small order.
    #[error("the key is no usable point on the curve")]
    Point,
    /// The halves of the file.
    #[error("the public and the private half of the key do not belong together")]
    Halves,
    /// No recipient in bech32 (`age1…`), with what the `age` crate says of it.
    #[error("this is no age recipient: {0}")]
    Recipient(String),
}

/// An age X25519 recipient: `age1…`. It is public.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Recipient(String);

impl Recipient {
    /// The text, as it stands in `.sops.yaml`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For the crate that encrypts.
    pub(crate) fn key(&self) -> Result<age::x25519::Recipient, KeyError> {
        age::x25519::Recipient::from_str(&self.0).map_err(|why| KeyError::Recipient(why.to_owned()))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Recipient {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let recipient = Self(text.trim().to_owned());
        recipient.key().map(|_| recipient)
    }
}

/// What opens a file that is encrypted for its recipient. It is not printed.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

impl Identity {
    /// The recipient that belongs to it, worked out by the `age` crate.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public().to_string())
    }

    /// `AGE-SECRET-KEY-1…`, for the file of a program that wants it so.
    pub fn to_secret(&self) -> Secret {
        use age::secrecy::ExposeSecret as _;
        Secret::new(self.0.to_string().expose_secret().as_bytes().to_vec())
    }

    /// For the crate that decrypts.
    pub(crate) fn key(&self) -> &age::x25519::Identity {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity of {}", self.recipient())
    }
}

/// The recipient of a line such as `ssh-ed25519 AAAA… root@hypervisor`.
pub fn recipient(public_key: &str) -> Result<Recipient, KeyError> {
    let kind = public_key.split_whitespace().next().unwrap_or_default();
    let key = PublicKey::from_openssh(public_key.trim())
        .map_err(|error| unread("public", kind, &error))?;
    match key.key_data().ed25519() {
        Some(ed25519) => of_point(&ed25519.0),
        None => Err(KeyError::Kind(key.algorithm().to_string())),
    }
}

/// The identity in `/etc/ssh/ssh_host_ed25519_key` (the format of openssh's PROTOCOL.key).
pub fn identity(private_key: &Secret) -> Result<Identity, KeyError> {
    let key = PrivateKey::from_openssh(private_key.expose())
        .map_err(|error| unread("private", "another algorithm", &error))?;
    if key.is_encrypted() {
        return Err(KeyError::Locked);
    }
    let Some(pair) = key.key_data().ed25519() else {
        return Err(KeyError::Kind(key.algorithm().to_string()));
    };
    let identity = of_seed(&Zeroizing::new(pair.private.to_bytes()))?;
    if identity.recipient() == of_point(&pair.public.0)? {
        Ok(identity)
    } else {
        Err(KeyError::Halves)
    }
}

/// The line of the public key that belongs to a private one.
pub fn public_line(private_key: &Secret) -> Result<String, KeyError> {
    let unread = |error| unread("private", "another algorithm", &error);
    let key = PrivateKey::from_openssh(private_key.expose()).map_err(unread)?;
    let line = key.public_key().to_openssh().map_err(unread)?;
    Ok(format!("{line}\n"))
}

/// The identities of a file as `age-keygen` writes it: one to a line, `#` before comments.
pub fn identities(file: &Secret) -> Result<Vec<Identity>, KeyError> {
    let format = |why: &str| KeyError::Format { what: "age", why: why.to_owned() };
    let text = std::str::from_utf8(file.expose()).map_err(|_| format("it is not text"))?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().map(Identity).map_err(format)).collect()
}

fn unread(what: &'static str, kind: &str, error: &ssh_key::Error) -> KeyError {
    match error {
        ssh_key::Error::AlgorithmUnknown => KeyError::Kind(kind.to_owned()),
        other => KeyError::Format { what, why: other.to_string() },
    }
}

fn of_point(public: &[u8; 32]) -> Result<Recipient, KeyError> {
    let point = CompressedEdwardsY(*public).decompress().ok_or(KeyError::Point)?;
    if point.is_small_order() {
        return Err(KeyError::Point);
    }
    let montgomery = point.to_montgomery().to_bytes();
    let text = bech32::encode("age", montgomery.to_base32(), Variant::Bech32);
    text.map(Recipient).map_err(|error| KeyError::Recipient(error.to_string()))
}

fn of_seed(seed: &[u8; 32]) -> Result<Identity, KeyError> {
    let mut hash = Zeroizing::new([0; 64]);
    hash.copy_from_slice(&Sha512::digest(seed));
    let (scalar, _) = hash.split_at(32);
    let digits = Zeroizing::new(scalar.to_vec());
    let encoded = bech32::encode("age-secret-key-", digits.to_base32(), Variant::Bech32);
    let text = encoded.map(|text| Zeroizing::new(text.to_ascii_uppercase()));
    let text = text.map_err(|error| KeyError::Recipient(error.to_string()))?;
    text.parse().map(Identity).map_err(|why: &str| KeyError::Recipient(why.to_owned()))
}

#[cfg(test)]
mod tests;
