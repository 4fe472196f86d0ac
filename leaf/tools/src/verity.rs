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
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn t27_an_image_of_which_one_bit_was_changed_is_not_the_one_of_its_root_hash() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let (file, path, offset) = (image.as_file(), image.path(), 40 * 4096);
        let content: Vec<u8> = (0..offset).map(|at| (at / 7 % 251) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        let root = append(path, offset).unwrap().unwrap();
        let is_whole = || {
            let mut verify = Command::new("veritysetup");
            verify.arg("verify").arg(format!("--hash-offset={offset}")).arg(path).arg(path);
            verify.arg(&root).run().is_ok()
        };
        assert!(is_whole());
        // The first and the last byte of the data, one between, and one of the hashes behind it.
        for at in [0, offset - 1, offset / 2, offset + 4096 + 5] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            assert!(!is_whole(), "a bit of byte {at} was changed");
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(is_whole());
    }

    #[test]
    fn the_root_hash_is_found_and_nonsense_is_not() {
        let hash = "ab".repeat(32);
        let output = format!("Salt:  -\nRoot hash:      \t{hash}\n");
        assert_eq!(root_hash(&output), Some(hash));
        assert_eq!(root_hash("Root hash: abc\n"), None);
    }
}
