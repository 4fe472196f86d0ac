//! `systemctl`: units of the running system.

use std::path::Path;
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

/// Stops a unit; one that is not there is none to stop.
pub fn stop(unit: &str) -> Result<(), CommandError> {
    Command::new("systemctl").args(["stop", "--", unit]).finish().map(drop)
}

/// Runs a program once, so many seconds from now, by a timer `unit` that is gone afterwards.
pub fn run_later(
    unit: &str,
    seconds: u64,
    program: &Path,
    arguments: &[&str],
) -> Result<(), CommandError> {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--timer-property=AccuracySec=1s"]);
    command.arg(format!("--unit={unit}")).arg(format!("--on-active={seconds}"));
    command.arg("--").arg(program).args(arguments).run()
}

/// Makes the manager read all units again.
pub fn reload_units() -> Result<(), CommandError> {
    Command::new("systemctl").arg("daemon-reload").run()
}
