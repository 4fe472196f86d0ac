//! What lies where on a stick, and how large it may be.

use std::path::{Component, Path};

use crate::{Result, StickError};

/// Bytes of a keyfile that we make: 512 random bits.
pub const KEYFILE_BYTES: usize = 64;

/// A file that is shorter holds no key: a stick that lost power may end like that.
pub const LEAST_KEYFILE_BYTES: usize = 32;

/// No key or passphrase is longer.
pub const SECRET_LIMIT: u64 = 64 << 10;

/// No header backup is longer.
pub const HEADER_LIMIT: u64 = 64 << 20;

/// Volume label of a stick that we make.
pub const LABEL: &str = "BEDPLATEKEY";

/// Where header backups lie.
pub const HEADERS: &str = "bedplate/headers";

/// A host's private ssh key that was made in advance, sealed with age.
pub const HOST_KEY: &str = "bedplate/ssh_host_ed25519_key.age";

/// The path of a member's header backup.
pub fn header(role: &str) -> String {
    format!("{HEADERS}/{role}.img.zst")
}

/// A path that stays inside the stick; one slash before it does no harm.
pub fn inside(path: &str) -> Result<&Path> {
    let relative = Path::new(path.strip_prefix('/').unwrap_or(path));
    let mut parts = relative.components().peekable();
    let plain = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    if plain { Ok(relative) } else { Err(StickError::Path { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_a_path_stays_inside_the_stick() {
        assert_eq!(inside("/keys/hv.key").unwrap(), Path::new("keys/hv.key"));
        assert_eq!(inside("key").unwrap(), Path::new("key"));
        for wrong in ["", "/", "..", "../etc/shadow", "/keys/../../etc/shadow", "//etc/shadow"] {
            assert!(inside(wrong).is_err(), "{wrong}");
        }
    }
}
