//! `veritysetup format`: a dm-verity hash tree behind the data it covers.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Appends superblock and hash tree to `image` at `hash_offset`, a multiple of 4096 and the
/// length of the data; returns the root hash in hexadecimal. There is no salt and the
/// superblock's id is fixed, so that the same data gives the same image.
pub fn append(image: &Path, hash_offset: u64) -> Result<Option<String>, CommandError> {
    let mut command = Command::new("veritysetup");
    command.args(["format", "--salt=-", "--uuid=6265646c-6174-4500-8000-000000000000"]);
    command.arg(format!("--data-blocks={}", hash_offset / 4096));
    command.arg(format!("--hash-offset={hash_offset}"));
    command.args(["--data-block-size=4096", "--hash-block-size=4096"]);
    let output = command.arg(image).arg(image).read()?;
    Ok(root_hash(&output))
}

fn root_hash(output: &str) -> Option<String> {
    let line = output.lines().find_map(|line| line.strip_prefix("Root hash:"))?.trim();
    let plausible = line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    plausible.then(|| line.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_hash_is_found_and_nonsense_is_not() {
        let hash = "ab".repeat(32);
        let output = format!("Salt:  -\nRoot hash:      \t{hash}\n");
        assert_eq!(root_hash(&output), Some(hash));
        assert_eq!(root_hash("Root hash: abc\n"), None);
    }
}
