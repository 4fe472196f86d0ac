//! The data key of a file, from one of its age recipients.

use bedplate_tools::secret::Secret;
use zeroize::Zeroizing;

use super::error::SopsError;
use crate::age_file::{self, AgeError};
use crate::ssh::Identity;
use bedplate_yaml::Node;

/// The other ways to keep a data key that sops knows.
const OTHERS: [&str; 6] = ["pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"];

/// The data key, encrypted for one recipient.
pub struct Stanza {
    /// For whom.
    pub recipient: String,
    /// An armored age file.
    pub sealed: String,
}

/// The data key: 32 bytes.
pub fn data_key(metadata: &Node, keys: &[Identity]) -> Result<Zeroizing<Vec<u8>>, SopsError> {
    let stanzas = stanzas(metadata)?;
    let mut damaged = None;
    // The names of recipients are not authenticated: each stanza is tried.
    for stanza in &stanzas {
        match age_file::open(stanza.sealed.as_bytes(), keys) {
            Ok(key) => return length(&key),
            Err(AgeError::OtherKeys(_)) => {}
            Err(other) => damaged = Some(SopsError::DataKey(other.to_string())),
        }
    }
    let ours: Vec<String> = keys.iter().map(|key| key.recipient().to_string()).collect();
    let theirs: Vec<&str> = stanzas.iter().map(|stanza| stanza.recipient.as_str()).collect();
    Err(damaged.unwrap_or_else(|| SopsError::OtherKeys {
        ours: if ours.is_empty() { "no key at all".into() } else { ours.join(", ") },
        theirs: theirs.join(", "),
    }))
}

fn length(key: &Secret) -> Result<Zeroizing<Vec<u8>>, SopsError> {
    if key.expose().len() == 32 {
        Ok(Zeroizing::new(key.expose().to_vec()))
    } else {
        Err(SopsError::DataKey("it has another length than sops writes".into()))
    }
}

/// Where the keys of a file stand.
fn source(metadata: &Node) -> Result<&Node, SopsError> {
    let groups = metadata.get("key_groups").map_or(&[][..], Node::items);
    if groups.len() > 1 {
        return Err(SopsError::SeveralGroups);
    }
    Ok(groups.first().unwrap_or(metadata))
}

/// How many keys of any kind there are.
pub fn openers(metadata: &Node) -> Result<usize, SopsError> {
    let source = source(metadata)?;
    let others = OTHERS.iter().filter_map(|name| source.get(name));
    Ok(others.fold(stanzas(metadata)?.len(), |sum, node| sum + node.items().len()))
}

/// The data key for each age recipient.
pub fn stanzas(metadata: &Node) -> Result<Vec<Stanza>, SopsError> {
    let source = source(metadata)?;
    let items = source.get("age").map_or(&[][..], Node::items);
    if items.is_empty() {
        let full = |name: &&str| source.get(name).is_some_and(|node| !node.items().is_empty());
        let others: Vec<&str> = OTHERS.into_iter().filter(|name| full(name)).collect();
        let others = if others.is_empty() { "nobody".to_owned() } else { others.join(", ") };
        return Err(SopsError::NoAge(others));
    }
    let stanza = |item: &Node| {
        let text = |name: &'static str, path| {
            let found = item.get(name).and_then(Node::text);
            found.map(str::to_owned).ok_or(SopsError::Metadata(path))
        };
        let recipient = text("recipient", "age[].recipient")?;
        Ok(Stanza { recipient, sealed: text("enc", "age[].enc")? })
    };
    items.iter().map(stanza).collect()
}
