//! `systemd-detect-virt`: what this machine runs in.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// The program.
pub const PROGRAM: &str = "systemd-detect-virt";

/// The name systemd-detect-virt(1) has for what runs this machine: `qemu` for QEMU's emulation,
/// `kvm` for a processor that helps, `none` for a machine of metal.
pub fn of_this_machine() -> Result<String, CommandError> {
    let output = Command::new(PROGRAM).arg("--vm").finish()?;
    // It ends with 1 where it says `none`.
    String::from_utf8(output.stdout)
        .map(|name| name.trim().to_owned())
        .map_err(|_| CommandError::NotText { program: PROGRAM.to_owned() })
}
