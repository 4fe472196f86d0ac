//! `systemctl`: units of the running system.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Whether a unit is active.
pub fn is_active(unit: &str) -> Result<bool, CommandError> {
    let output = Command::new("systemctl").args(["is-active", "--quiet", "--", unit]).finish()?;
    Ok(output.status.success())
}

/// Names of the units that match `pattern` and failed.
pub fn failed(pattern: &str) -> Result<Vec<String>, CommandError> {
    let arguments =
        ["list-units", "--state=failed", "--plain", "--no-legend", "--full", "--no-pager"];
    let text = Command::new("systemctl").args(arguments).args(["--", pattern]).read()?;
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// Starts a unit and waits until it is up.
pub fn start(unit: &str) -> Result<(), CommandError> {
    Command::new("systemctl").args(["start", "--", unit]).run()
}

/// Stops a unit where it runs, starts it, and waits until it is up.
pub fn restart(unit: &str) -> Result<(), CommandError> {
    Command::new("systemctl").args(["restart", "--", unit]).run()
}

/// Makes the manager read all units again.
pub fn reload_units() -> Result<(), CommandError> {
    Command::new("systemctl").arg("daemon-reload").run()
}
