//! One run at a time: whoever holds the lock may write to disks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// How often it is tried to take the lock.
const ATTEMPTS: u32 = 10;

/// How long between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock in the file `path`, as long as the value, or a process that inherited it, lives.
/// None when somebody else holds it.
pub fn take(path: &Path) -> io::Result<Option<File>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(path)?;
    for _ in 0..ATTEMPTS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            // Perhaps only somebody who asks, for a moment.
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Whether somebody holds the lock.
pub fn is_held(path: &Path) -> bool {
    // Shared, so that two who ask do not see each other.
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn two_runs_never_hold_the_lock_and_a_child_keeps_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/lock");
        assert!(!is_held(&path));
        let first = take(&path).unwrap().unwrap();
        assert!(is_held(&path) && take(&path).unwrap().is_none());
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(first)).spawn().unwrap();
        assert!(is_held(&path) && take(&path).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_held(&path) && take(&path).unwrap().is_some());
    }
}
