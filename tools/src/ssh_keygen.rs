//! `ssh-keygen`: makes host keys.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Makes an ed25519 key without a passphrase at `path`, and `path.pub` beside it.
pub fn make(path: &Path, comment: &str) -> Result<(), CommandError> {
    let words = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
    Command::new("ssh-keygen").args(words).arg(path).run()
}
