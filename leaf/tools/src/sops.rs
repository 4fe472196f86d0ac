//! `sops`: who may open a file. The admin's key is sops' own affair (`SOPS_AGE_KEY_FILE`).

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Whether sops can be run here.
pub fn is_there() -> bool {
    Command::new("sops").arg("--version").finish().is_ok()
}

/// Encrypts the data key of `file`, a path in `repository`, for whom `.sops.yaml` names.
pub fn update_keys(repository: &Path, file: &str) -> Result<(), CommandError> {
    Command::new("sops").args(["updatekeys", "--yes", file]).current_dir(repository).run()
}
