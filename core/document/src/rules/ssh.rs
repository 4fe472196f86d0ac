//! Public keys of ssh.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Wrong, only, require};

/// One OpenSSH public key, whole: half a key would be noticed on the machine only, by whoever cannot
/// log in.
pub fn ssh_key(text: &str) -> Result<(), Wrong> {
    const KINDS: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut words = text.splitn(3, ' ');
    let kind = words.next().unwrap_or_default();
    let blob = words.next().unwrap_or_default();
    let comment = words.next().unwrap_or_default();
    let fits = KINDS.contains(&kind)
        && blob.starts_with("AAAA")
        && only(blob, "+/=")
        && blob.len() >= 64
        && only(comment, " ._@:+-")
        && text.len() <= 8192;
    require(
        fits,
        text,
        "an OpenSSH public key",
        "write one line of a `.pub` file: kind, key, and a comment without special characters",
    )?;
    require(
        is_whole_ssh_key(kind, blob),
        text,
        "a whole public key",
        "write it as the `.pub` file or `ssh-keyscan` has it: kind and key",
    )
}

/// Whether the content is of the kind that stands before it (RFC 4253, section 6.6).
fn is_whole_ssh_key(kind: &str, base64: &str) -> bool {
    let blob = STANDARD.decode(base64).ok();
    let fields = blob.as_deref().and_then(ssh_fields);
    fields.is_some_and(|fields| fields.len() > 1 && fields.first() == Some(&kind.as_bytes()))
}

/// The strings of an ssh key, each behind its length (RFC 4251, section 5); none when one is cut.
fn ssh_fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}
