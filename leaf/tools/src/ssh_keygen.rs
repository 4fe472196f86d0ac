//! `ssh-keygen`: makes host keys, and says what they are known by.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Makes an ed25519 key without a passphrase at `path`, and `path.pub` beside it.
pub fn make(path: &Path, comment: &str) -> Result<(), CommandError> {
    let words = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
    Command::new("ssh-keygen").args(words).arg(path).run()
}

/// The fingerprint of a public key (a line with kind and key): `SHA256:…`. None when the program
/// finds no key there.
pub fn fingerprint(public: &str) -> Result<Option<String>, CommandError> {
    let mut command = Command::new("ssh-keygen");
    let told =
        command.args(["-l", "-E", "sha256", "-f", "-"]).read_with_input(public.as_bytes())?;
    let word = told.split_whitespace().nth(1).filter(|word| word.starts_with("SHA256:"));
    Ok(word.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_and_has_one_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        make(&path, "live").unwrap();
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let fingerprint = fingerprint(&public).unwrap().unwrap();
        assert_eq!(fingerprint.len(), "SHA256:".len() + 43, "{fingerprint}");
        assert!(super::fingerprint("no key\n").is_err());
    }
}
