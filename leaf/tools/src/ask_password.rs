//! `systemd-ask-password`: asks whoever sits at a console, before anybody can log in.

use std::process::Command;
use std::time::Duration;

use crate::command::{CommandError, CommandExt as _};
use crate::secret::Secret;

/// Asks; an error when nobody answers within `patience`.
pub fn ask(question: &str, patience: Duration) -> Result<Secret, CommandError> {
    let timeout = format!("--timeout={}", patience.as_secs());
    let mut answer = Command::new("systemd-ask-password").args([&timeout, question]).read()?;
    if answer.ends_with('\n') {
        answer.pop();
    }
    Ok(Secret::new(answer.into_bytes()))
}
