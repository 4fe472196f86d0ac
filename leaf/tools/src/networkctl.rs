//! `networkctl` and its neighbour: systemd-networkd.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Reads the files again; links whose files changed are configured again.
pub fn reload() -> Result<(), CommandError> {
    Command::new("networkctl").arg("reload").run()
}

/// Waits until one link has an address, at most so many seconds.
pub fn wait_online(seconds: u32) -> Result<(), CommandError> {
    Command::new("/usr/lib/systemd/systemd-networkd-wait-online")
        .args(["--any", &format!("--timeout={seconds}")])
        .run()
}
