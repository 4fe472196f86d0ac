//! Keys: the keyfile on a stick, or the passphrase typed in stage 1.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use bedplate_spec::host::Unlock;
use bedplate_tools::block::Block;
use bedplate_tools::mount::{self, Access, Mount};
use bedplate_tools::secret::Secret;
use bedplate_tools::signature::Signature;

use super::{PoolError, file};

/// Where stage 1 leaves a typed passphrase.
pub const PASSPHRASE: &str = "/run/bedplate/passphrase";

/// A keyfile is at most this long.
const LIMIT: u64 = 64 << 10;

/// The keys found so far. A stick is read once for each time it is plugged in.
pub struct Keys<'a> {
    unlock: &'a Unlock,
    sticks: Vec<(Block, Option<Secret>)>,
}

impl<'a> Keys<'a> {
    /// No keys yet.
    pub fn new(unlock: &'a Unlock) -> Self {
        Self { unlock, sticks: Vec::new() }
    }

    /// Keyfiles of all sticks among `blocks`. A stick that cannot be read has none.
    pub fn keyfiles(&mut self, blocks: &[Block]) -> Result<Vec<Secret>, PoolError> {
        for block in blocks {
            if self.sticks.iter().any(|(known, _)| known == block) || !self.is_stick(block) {
                continue;
            }
            let key = read_stick(block, &self.unlock.keyfile)?;
            self.sticks.push((block.clone(), key));
        }
        Ok(self.sticks.iter().filter_map(|(_, key)| key.clone()).collect())
    }

    fn is_stick(&self, block: &Block) -> bool {
        match block.signature() {
            Some(Signature::Fat { volume_id }) => {
                let mut sticks = self.unlock.sticks.iter();
                sticks.any(|stick| stick.volume_id.eq_ignore_ascii_case(&volume_id))
            }
            _ => false,
        }
    }

    /// The passphrase typed in stage 1, when one was.
    pub fn passphrase(&self) -> Result<Option<Secret>, PoolError> {
        let path = Path::new(PASSPHRASE);
        match fs::read(path) {
            Ok(bytes) => Ok(Some(Secret::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read", path)(error)),
        }
    }
}

/// The keyfile; none when the stick has none or does not mount (it may be torn or gone).
fn read_stick(block: &Block, keyfile: &str) -> Result<Option<Secret>, PoolError> {
    let Some(relative) = inside(keyfile) else { return Ok(None) };
    // Its own for each process: pools are opened at the same time.
    let target = PathBuf::from(format!("/run/bedplate/stick-{}", std::process::id()));
    fs::create_dir_all(&target).map_err(file("make", &target))?;
    let source = block.node.to_string_lossy();
    let mounted = Mount {
        source: &source,
        target: &target,
        kind: "vfat",
        access: Access::ReadOnly,
        options: "",
    }
    .mount_restricted();
    let key = mounted.is_ok().then(|| read_key(&target.join(relative))).flatten();
    if mounted.is_ok() {
        mount::unmount(&target)?;
    }
    fs::remove_dir(&target).map_err(file("remove", &target))?;
    Ok(key)
}

fn read_key(path: &Path) -> Option<Secret> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(Secret::new(bytes))
}

/// The path relative to the stick; nothing that leaves it.
fn inside(keyfile: &str) -> Option<&Path> {
    let relative = Path::new(keyfile.trim_start_matches('/'));
    let mut parts = relative.components().peekable();
    parts.peek()?;
    parts.all(|part| matches!(part, Component::Normal(_))).then_some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t15_a_keyfile_stays_on_its_stick() {
        assert_eq!(inside("/keys/a"), Some(Path::new("keys/a")));
        for wrong in ["", "/", "../a", "keys/../../a"] {
            assert_eq!(inside(wrong), None, "{wrong}");
        }
    }
}
