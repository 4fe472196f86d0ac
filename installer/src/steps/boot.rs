//! The boot entry, which is the commit point, and the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_spec::event::Outcome;
use bedplate_spec::host::Then;
use bedplate_spec::plan::Step;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::unmount;
use bedplate_tools::sync;
use rustix::mount::UnmountFlags;

use super::system::{LIVE, in_target};
use crate::context::{Context, MORE_STICKS, STICK, TARGET};
use crate::error::{During as _, StepError};

/// Lets the built system write its boot loader and entry, and reads the entry back.
pub fn write_entry(context: &Context<'_>) -> Result<Outcome, StepError> {
    let toplevel = context.toplevel()?;
    let esp = Path::new(TARGET).join("boot");
    sync::file_system(Path::new(TARGET)).during("could not flush the target")?;
    in_target(&format!("{toplevel}/bin/switch-to-configuration"), &["boot"])
        .during("the built system could not install its boot loader")?;
    sync::file_system(&esp).during("could not flush the EFI system partition")?;
    if entries(&esp).iter().any(|entry| names_files_that_are_there(&esp, entry)) {
        Ok(Outcome::Done)
    } else {
        Err(StepError::new("no usable boot entry stands on the EFI system partition afterwards"))
    }
}

fn entries(esp: &Path) -> Vec<PathBuf> {
    let directory = esp.join("loader/entries");
    bedplate_facts::roots::names(&directory)
        .into_iter()
        .filter(|name| name.ends_with(".conf"))
        .map(|name| directory.join(name))
        .collect()
}

/// Whether an entry names a kernel and initrds, and each of them is on the partition.
fn names_files_that_are_there(esp: &Path, entry: &Path) -> bool {
    let Ok(text) = fs::read_to_string(entry) else { return false };
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            let (word, value) = line.trim().split_once(char::is_whitespace)?;
            (word == key).then(|| value.trim())
        })
    };
    let present =
        |value: &str| esp.join(value.trim_start_matches('/')).metadata().is_ok_and(|m| m.len() > 0);
    let images = values("linux").chain(values("efi"));
    images.clone().count() == 1 && images.chain(values("initrd")).all(present)
}

/// Flushes, unmounts and closes everything.
pub fn finish(context: &Context<'_>) -> Result<Outcome, StepError> {
    rustix::fs::sync();
    for name in LIVE {
        // Only a view of the live system: what still uses it keeps it, the target is free.
        let view = Path::new(TARGET).join(name);
        match rustix::mount::unmount(&view, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                return Err(error).during(format!("could not unmount {}", view.display()));
            }
        }
    }
    let table = fs::read_to_string("/proc/self/mountinfo").during("could not read the mounts")?;
    for place in mounts_below(&table, &[TARGET, STICK, MORE_STICKS]) {
        unmount(&place).during(format!("could not unmount {}", place.display()))?;
    }
    for step in &context.plan.steps {
        if let Step::FormatLuks { role, mapper, .. } = step
            && bedplate_luks::is_open(mapper)
        {
            bedplate_luks::close(mapper).during(format!("could not close the volume of {role}"))?;
        }
    }
    rustix::fs::sync();
    Ok(Outcome::Done)
}

/// Mount points at or below the given ones, the newest first.
fn mounts_below(table: &str, tops: &[&str]) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|place| tops.iter().any(|top| place.starts_with(top)))
        .collect();
    places.reverse();
    places
}

/// What happens after success.
pub fn then(then: Then) -> Result<(), StepError> {
    let verb = match then {
        Then::Poweroff => "poweroff",
        Then::Reboot => "reboot",
        Then::Wait => return Ok(()),
    };
    Command::new("systemctl")
        .args(["--no-block", verb])
        .run()
        .during(format!("could not {verb}"))
        .map_err(|error| error.next("the system is installed: take the medium out and restart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_taken_away_newest_first_and_others_stay() {
        let table = "30 1 0:1 / / rw - tmpfs x rw\n31 30 0:2 / /mnt rw - btrfs x rw\n\
            32 31 0:3 / /mnt/boot rw - vfat x rw\n33 30 0:4 / /mntother rw - tmpfs x rw\n";
        let found = mounts_below(table, &["/mnt"]);
        assert_eq!(found, [PathBuf::from("/mnt/boot"), PathBuf::from("/mnt")]);
    }

    #[test]
    fn f1_an_entry_whose_kernel_is_missing_or_empty_is_not_usable() {
        let esp = tempfile::tempdir().unwrap();
        let entry = esp.path().join("loader/entries/bedplate-1+3.conf");
        fs::create_dir_all(entry.parent().unwrap()).unwrap();
        fs::write(&entry, "title x\nlinux /bedplate/kernel\ninitrd /bedplate/initrd\n").unwrap();
        assert!(!names_files_that_are_there(esp.path(), &entry));
        fs::create_dir_all(esp.path().join("bedplate")).unwrap();
        fs::write(esp.path().join("bedplate/kernel"), "k").unwrap();
        fs::write(esp.path().join("bedplate/initrd"), "").unwrap();
        assert!(!names_files_that_are_there(esp.path(), &entry));
        fs::write(esp.path().join("bedplate/initrd"), "i").unwrap();
        assert!(names_files_that_are_there(esp.path(), &entry));
        assert_eq!(entries(esp.path()), [entry]);
    }
}
