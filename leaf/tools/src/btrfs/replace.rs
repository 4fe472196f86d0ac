//! `btrfs replace`: one device written anew in the place of another, or of itself.

use std::path::Path;
use std::process::Command;

use super::gather_meanwhile;
use crate::command::{CommandError, CommandExt as _, LOOK};

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// None was ever begun, or the last one was given up.
    None,
    /// So many hundredths are done.
    Running(f64),
    /// It waits for its device.
    Suspended,
    /// It came to its end.
    Finished {
        /// Places that no device had whole.
        unreadable: u64,
        /// Writes that the new device did not take.
        unwritten: u64,
    },
}

/// Writes what device number `number` holds, or should hold, to `device`, which is not in the file
/// system; returns when that is done. What could not be read stays on `device` as it was: it is not
/// discarded before.
///
/// The kernel wants room for one more chunk, which a file system that was written to without a device
/// often lacks though most of its chunks are empty: where there is none, they are emptied into one another
/// first.
pub fn run(number: u64, device: &Path, mount: &Path) -> Result<(), CommandError> {
    run_meanwhile(number, device, mount, &mut || ())
}

/// As [`run`]; `meanwhile` is called every [`LOOK`].
pub fn run_meanwhile(
    number: u64,
    device: &Path,
    mount: &Path,
    meanwhile: &mut dyn FnMut(),
) -> Result<(), CommandError> {
    match start(number, device, mount).run_meanwhile(LOOK, meanwhile) {
        Err(error) if lacks_room(&error) => {
            gather_meanwhile(mount, meanwhile)?;
            start(number, device, mount).run_meanwhile(LOOK, meanwhile)
        }
        ended => ended,
    }
}

/// Whether the kernel found no room (`ENOSPC`), as btrfs-progs tell it.
pub fn lacks_room(error: &CommandError) -> bool {
    let mut chain = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    chain.any(|one| one.to_string().contains("No space left"))
}

fn start(number: u64, device: &Path, mount: &Path) -> Command {
    let number = number.to_string();
    let mut command = Command::new("btrfs");
    command.args(["replace", "start", "-B", "-K", "-f", &number]);
    command.arg(device).arg(mount);
    command
}

/// Gives up one that is running or waits.
pub fn cancel(mount: &Path) -> Result<(), CommandError> {
    Command::new("btrfs").args(["replace", "cancel"]).arg(mount).run()
}

/// How far the newest one of a mounted file system is.
pub fn progress(mount: &Path) -> Result<Progress, CommandError> {
    let text = Command::new("btrfs").args(["replace", "status", "-1"]).arg(mount).read()?;
    parse(&text).ok_or_else(|| CommandError::NotUnderstood { program: "btrfs".into() })
}

/// Lines of btrfs-progs, such as `12.3% done, 0 write errs, 0 uncorr. read errs`.
fn parse(text: &str) -> Option<Progress> {
    let text = text.trim();
    if text.starts_with("Never started") || text.contains(" canceled on ") {
        return Some(Progress::None);
    }
    if text.contains(" suspended on ") {
        return Some(Progress::Suspended);
    }
    if text.contains(" finished on ") {
        let before = |what: &str| {
            let (before, _) = text.split_once(what)?;
            before.rsplit(' ').next()?.parse().ok()
        };
        let (unreadable, unwritten) = (before(" uncorr. read errs")?, before(" write errs")?);
        return Some(Progress::Finished { unreadable, unwritten });
    }
    let (percent, _) = text.split_once("% done")?;
    Some(Progress::Running(percent.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_btrfs_progs_say_is_understood() {
        // Of btrfs-progs 6.2.
        let end = "Started on 30.Nov 08:41:07, finished on 30.Nov 08:41:08, 2 write errs, 3 uncorr. read errs\n";
        assert_eq!(parse(end), Some(Progress::Finished { unreadable: 3, unwritten: 2 }));
        let cancelled = "Started on 30.Nov 08:41:51, canceled on 30.Nov 08:41:51 at 0.0%, 0 write errs, 0 uncorr. read errs\n";
        assert_eq!(parse(cancelled), Some(Progress::None));
        let suspended = "Started on 30.Nov 08:41:51, suspended on  1.Jan 00:00:00 at 0.0%, 0 write errs, 0 uncorr. read errs\n";
        assert_eq!(parse(suspended), Some(Progress::Suspended));
        let running = "12.3% done, 0 write errs, 0 uncorr. read errs\n";
        assert_eq!(parse(running), Some(Progress::Running(12.3)));
        assert_eq!(parse("Never started\n"), Some(Progress::None));
        for other in ["", "what else\n", "x% done"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
