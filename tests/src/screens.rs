//! Pictures of what somebody at the screen sees, kept under `target/screens` to be looked at.

use std::path::{Path, PathBuf};

use bedplate_qemu_harness::running::Running;

use crate::Failure;
use crate::failure::file;

/// Keeps what the machine's screen shows now.
pub fn keep(running: &Running, name: &str) -> Result<(), Failure> {
    let directory = directory();
    std::fs::create_dir_all(&directory).map_err(file("make", &directory))?;
    running.qmp().keep_screen(&directory.join(format!("{name}.png")))?;
    Ok(())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screens")
}
