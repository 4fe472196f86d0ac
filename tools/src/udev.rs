//! `udevadm` and the kernel's view of a partition table.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{CommandError, CommandExt as _};

/// How often a table that udev still looks at is read again.
const ATTEMPTS: u32 = 20;

/// Waits until udev has worked off its queue.
pub fn settle() -> Result<(), CommandError> {
    Command::new("udevadm").args(["settle", "--timeout=60"]).run()
}

/// Makes the kernel read the partition table of `disk` again, then waits for udev.
pub fn reread_partitions(disk: &Path) -> Result<(), CommandError> {
    settle()?;
    for _ in 1..ATTEMPTS {
        if Command::new("blockdev").arg("--rereadpt").arg(disk).run().is_ok() {
            return settle();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Command::new("blockdev").arg("--rereadpt").arg(disk).run()?;
    settle()
}
