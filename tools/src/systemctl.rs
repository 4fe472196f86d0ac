//! `systemctl`: units of the running system.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Whether a unit is active.
pub fn is_active(unit: &str) -> Result<bool, CommandError> {
    let output = Command::new("systemctl").args(["is-active", "--quiet", "--", unit]).finish()?;
    Ok(output.status.success())
}

/// Starts a unit and waits until it is up.
pub fn start(unit: &str) -> Result<(), CommandError> {
    Command::new("systemctl").args(["start", "--", unit]).run()
}
