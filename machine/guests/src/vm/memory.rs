//! Whether the memory of a machine that is off lies in a file of its owner's (`virsh save`).
//!
//! libvirt knows that only until it is asked to let the machine go on (`virsh restore`): when that fails,
//! the machine counts as one that could not be started. Started without its memory then, its disk would no
//! longer be the one that the memory knows. What libvirt writes to the log of each machine says how it
//! ended before.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bedplate_libvirt::{Domain, Off, State};

/// Where libvirt's logs of the machines are, on both platforms.
pub const LOGS: &str = "/var/log/libvirt/qemu";
/// What libvirt writes when it starts QEMU (`qemuLogOperation`), and in the line of how a machine ended
/// (`qemuProcessStop`).
const START: &str = ": starting up libvirt version: ";
const END: &str = ": shutting down, reason=";
/// Of which ends a log tells no more than this: virtlogd begins a new one after 2 MiB.
const LONGEST: u64 = 4 << 20;

/// Why a machine is off that libvirt knows as `domain`, with its memory counted as saved for as long as it
/// can go on from it; none when it is not off.
pub fn off(logs: &Path, domain: &Domain) -> Option<Off> {
    let State::Off(why) = domain.state else { return None };
    // What libvirt keeps itself is never thrown away by a start that fails.
    let may_be_saved = matches!(why, Off::Failed | Off::Unknown) && !domain.managed_save;
    Some(if may_be_saved && was_saved(logs, &domain.name) { Off::Saved } else { why })
}

/// Whether the machine was saved, and has not run since. A log that is not there says nothing.
fn was_saved(logs: &Path, name: &str) -> bool {
    let of = |name: String| read(&logs.join(name)).ok();
    // The older one, when the newer has just begun.
    let mut files = [format!("{name}.log"), format!("{name}.log.0")].into_iter().filter_map(of);
    files.find_map(|text| saved_in(&text)).unwrap_or(false)
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As [`was_saved`], by one log; none when it does not say.
fn saved_in(log: &str) -> Option<bool> {
    let mut start_failed = false;
    for line in log.lines().rev() {
        if let Some((_, why)) = line.split_once(END) {
            match why.trim() {
                "failed" => start_failed = true,
                why => return Some(why == "saved"),
            }
        } else if line.contains(START) {
            if !start_failed {
                // It ran, and nobody wrote how that ended: the power was cut.
                return Some(false);
            }
            start_failed = false;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &str = "2026-11-30 18:00:00.123+0000: starting up libvirt version: 11.3.0, …\n\
                           LC_ALL=C \\\n/usr/bin/qemu-system-x86_64 \\\n-name guest=haos \\\n";

    fn ended(why: &str) -> String {
        format!("2026-11-30 18:00:09.456+0000: shutting down, reason={why}\n")
    }

    #[test]
    fn t50_a_machine_that_was_saved_and_not_resumed_is_known_by_its_log() {
        let [saved, failed, shutdown] = ["saved", "failed", "shutdown"].map(ended);
        for (log, is_saved) in [
            (format!("{STARTED}{saved}"), Some(true)),
            // QEMU was started and could not go on, twice; and libvirt did not come as far.
            (format!("{STARTED}{saved}{STARTED}{failed}{STARTED}{failed}"), Some(true)),
            (format!("{STARTED}{saved}{failed}{failed}"), Some(true)),
            // It went on, or was started without.
            (format!("{STARTED}{saved}{STARTED}{shutdown}{STARTED}{failed}"), Some(false)),
            (format!("{STARTED}{saved}{STARTED}"), Some(false)),
            (format!("{STARTED}{failed}"), None),
            (String::new(), None),
        ] {
            assert_eq!(saved_in(&log), is_saved, "{log}");
        }
    }

    #[test]
    fn t50_a_restore_that_failed_is_no_failed_guest() {
        let logs = tempfile::tempdir().unwrap();
        let with = |state, managed_save| {
            let name = "haos".to_owned();
            off(logs.path(), &Domain { name, state, managed_save, ..Domain::default() })
        };
        let failed = State::Off(Off::Failed);
        assert_eq!(with(failed, false), Some(Off::Failed), "without a log");
        std::fs::write(logs.path().join("haos.log"), ended("failed")).unwrap();
        std::fs::write(logs.path().join("haos.log.0"), ended("saved")).unwrap();
        assert_eq!(with(failed, false), Some(Off::Saved));
        assert_eq!(with(State::Off(Off::Unknown), false), Some(Off::Saved), "after a boot");
        assert_eq!(with(failed, true), Some(Off::Failed), "libvirt keeps it");
        assert_eq!(with(State::Off(Off::ShutDown), false), Some(Off::ShutDown));
        assert_eq!(with(State::Running, false), None);
    }
}
