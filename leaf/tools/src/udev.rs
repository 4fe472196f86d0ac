//! `udevadm` and the kernel's view of a partition table.

use std::fs::File;
use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};

use crate::command::{CommandError, CommandExt as _};

/// `BLKRRPART` of linux/fs.h.
const BLKRRPART: Opcode = opcode::none(0x12, 95);

/// How often a table that udev still looks at is read again.
const ATTEMPTS: u32 = 20;

/// How long between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until udev has worked off its queue.
pub fn settle() -> Result<(), CommandError> {
    Command::new("udevadm").args(["settle", "--timeout=60"]).run()
}

/// Makes the kernel read the partition table of a disk again. It refuses as long as one of the
/// old partitions is open, as udev has them while it looks at them.
pub fn reread_partitions(disk: &File) -> io::Result<()> {
    for _ in 1..ATTEMPTS {
        match reread(disk) {
            Err(Errno::BUSY) => settle().map_err(io::Error::other)?,
            other => return Ok(other?),
        }
        std::thread::sleep(PAUSE);
    }
    Ok(reread(disk)?)
}

fn reread(disk: &File) -> rustix::io::Result<()> {
    // SAFETY: BLKRRPART has no argument and touches no memory of ours.
    #[allow(unsafe_code)]
    unsafe {
        ioctl(disk, NoArg::<BLKRRPART>::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_is_told_at_once() {
        let file = tempfile::tempfile().unwrap();
        let error = reread_partitions(&file).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTTY), "{error}");
    }
}
