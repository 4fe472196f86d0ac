//! `networkctl`: systemd-networkd.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Reads the files again; links whose files changed are configured again.
pub fn reload() -> Result<(), CommandError> {
    Command::new("networkctl").arg("reload").run()
}
