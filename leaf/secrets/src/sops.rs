//! Files of sops in YAML, read only (getsops/sops: README, "Encryption Protocol"; `aes/cipher.go`;
//! `sops.go`, `Tree.Decrypt`).
//!
//! The data key is taken from an age recipient. Every encrypted value is opened with its path as
//! additional data, then the MAC over all values is compared; no value is handed out before.
//! What this reader does not know it refuses, naming the place, and never guesses.

mod error;
mod key;
mod leaf;
mod value;

use bedplate_tools::secret::Secret;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::ssh::Identity;
use bedplate_yaml::{self as yaml, Node};
pub use error::SopsError;
use leaf::Leaf;

/// What the MAC of a file with `mac_only_encrypted` begins with (sops.go,
/// `MACOnlyEncryptedInitialization`: the SHA-256 of `sops`).
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// A file that is open and authentic.
#[derive(Debug)]
pub struct File {
    leaves: Vec<Leaf>,
}

impl File {
    /// The value at `key`: names, or numbers from 0 in lists, between `/`.
    ///
    /// One that stands there unencrypted is refused: whoever reads the repository knows it.
    pub fn value(&self, key: &str) -> Result<&Secret, SopsError> {
        let found = self.leaves.iter().find(|leaf| leaf.place == key);
        match found {
            Some(leaf) if leaf.encrypted => Ok(&leaf.value),
            Some(leaf) => Err(SopsError::Plain { key: key.to_owned(), line: leaf.line }),
            None => Err(SopsError::NoSuchKey { key: key.to_owned(), known: self.known() }),
        }
    }

    /// Where secrets stand, sorted.
    pub fn keys(&self) -> Vec<&str> {
        let encrypted = self.leaves.iter().filter(|leaf| leaf.encrypted);
        let mut keys: Vec<&str> = encrypted.map(|leaf| leaf.place.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    fn known(&self) -> String {
        self.keys().join(", ")
    }
}

/// Opens a file with the keys of the host.
pub fn open(text: &str, keys: &[Identity]) -> Result<File, SopsError> {
    let document = yaml::parse(text)?;
    let metadata = document.get("sops").ok_or(SopsError::NotSops)?;
    let data_key = key::data_key(metadata, keys)?;
    let leaves = leaf::all(&document, &data_key)?;
    authenticate(metadata, &leaves, &data_key)?;
    Ok(File { leaves })
}

/// The age recipients that a file is encrypted for, in its order.
pub fn recipients(text: &str) -> Result<Vec<String>, SopsError> {
    let document = yaml::parse(text)?;
    let metadata = document.get("sops").ok_or(SopsError::NotSops)?;
    Ok(key::stanzas(metadata)?.into_iter().map(|stanza| stanza.recipient).collect())
}

/// How many keys open a file: those of age, and of whatever else sops knows.
pub fn openers(text: &str) -> Result<usize, SopsError> {
    let document = yaml::parse(text)?;
    let metadata = document.get("sops").ok_or(SopsError::NotSops)?;
    key::openers(metadata)
}

/// Compares the MAC: the SHA-512 of all values, in capital hexadecimal digits, encrypted with the
/// time of the last change as additional data.
fn authenticate(metadata: &Node, leaves: &[Leaf], data_key: &[u8]) -> Result<(), SopsError> {
    let text = |name: &'static str| {
        let node = metadata.get(name).and_then(Node::text).filter(|text| !text.is_empty());
        node.ok_or(SopsError::Metadata(name))
    };
    let only_encrypted = metadata.get("mac_only_encrypted").and_then(Node::text) == Some("true");
    let (sealed, changed) = (text("mac")?, text("lastmodified")?);
    let mac = value::open(sealed, data_key, changed).map_err(|_| SopsError::Mac)?;
    let mut hash = Sha512::new();
    if only_encrypted {
        hash.update(ONLY_ENCRYPTED);
    }
    for leaf in leaves.iter().filter(|leaf| leaf.encrypted || !only_encrypted) {
        hash.update(leaf.value.expose());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
    if mac.expose() == Zeroizing::new(digest).as_bytes() { Ok(()) } else { Err(SopsError::Mac) }
}

#[cfg(test)]
mod tests;
