//! `udevadm` and the kernel's view of a partition table.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{CommandError, CommandExt as _};

/// How often a table that udev still looks at is read again.
const ATTEMPTS: u32 = 20;

/// How long between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until udev has worked off its queue.
pub fn settle() -> Result<(), CommandError> {
    Command::new("udevadm").args(["settle", "--timeout=60"]).run()
}

/// Makes the kernel read the partition table of `disk` again. It refuses as long as one of the
/// old partitions is open, as udev has them while it looks at them.
pub fn reread_partitions(disk: &Path) -> Result<(), CommandError> {
    let mut reread = Command::new("blockdev");
    reread.arg("--rereadpt").arg(disk);
    for _ in 1..ATTEMPTS {
        if reread.run().is_ok() {
            return Ok(());
        }
        settle()?;
        std::thread::sleep(PAUSE);
    }
    reread.run()
}
