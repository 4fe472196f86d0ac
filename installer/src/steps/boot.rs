//! The boot entry, which is the commit point, and the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_events::{DeviceState, Outcome};
use bedplate_facts::boot_chain::Chain;
use bedplate_model::host::Then;
use bedplate_model::plan::{BootPartition, Plan, Step};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::unmount;
use bedplate_tools::{block, sync};
use rustix::mount::UnmountFlags;

use super::system::{LIVE, in_target};
use crate::context::{Context, MORE_STICKS, STICK, TARGET};
use crate::device::{kernel_name, owner_name, partition_node, wait_for_partition};
use crate::error::{During as _, StepError};

/// Lets the built system write its boot loader and entry, the mirror first, and reads both back.
pub fn write_entry(
    context: &Context<'_>,
    esp: &BootPartition,
    mirror: Option<&BootPartition>,
) -> Result<Outcome, StepError> {
    let toplevel = context.toplevel()?;
    sync::file_system(Path::new(TARGET)).during("could not flush the target")?;
    in_target(&format!("{toplevel}/bin/switch-to-configuration"), &["boot"])
        .during("the built system could not install its boot loader")?;
    for partition in mirror.into_iter().chain([esp]) {
        let place = Path::new(TARGET).join(partition.mount.trim_start_matches('/'));
        let on = |error: StepError| match context.disk(&partition.role) {
            Ok(target) => error.on(owner_name(target), DeviceState::Partial),
            Err(_) => error,
        };
        sync::file_system(&place).during("could not flush the EFI system partition").map_err(on)?;
        let node = wait_for_partition(context.disk(&partition.role)?, partition.partition);
        require_bootable(&node.map_err(on)?).map_err(on)?;
    }
    Ok(Outcome::Done)
}

/// What the disk has, not what the kernel remembers of it, boots: every file of the chain.
fn require_bootable(partition: &Path) -> Result<(), StepError> {
    let chain = Chain::look(partition).during("could not read the EFI system partition back")?;
    if chain.is_bootable() {
        return Ok(());
    }
    let faults = chain.faults().join("; ");
    let message = format!("the EFI system partition does not boot afterwards: {faults}");
    Err(StepError::new(message))
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
    for (role, mapper) in volumes(context.plan) {
        if bedplate_luks::is_open(mapper) {
            bedplate_luks::close(mapper).during(format!("could not close the volume of {role}"))?;
        }
    }
    release_kept(context)?;
    rustix::fs::sync();
    Ok(Outcome::Done)
}

/// Role and mapping of every volume that the plan opens.
fn volumes(plan: &Plan) -> impl Iterator<Item = (&str, &str)> {
    plan.steps.iter().flat_map(|step| match step {
        Step::FormatLuks { role, mapper, .. } | Step::OpenSystem { role, mapper, .. } => {
            vec![(role.as_str(), mapper.as_str())]
        }
        Step::KeepPool { members, .. } => {
            members.iter().map(|member| (member.role.as_str(), member.mapper.as_str())).collect()
        }
        _ => Vec::new(),
    })
}

/// What was protected while it was kept may be written again by whoever comes next.
fn release_kept(context: &Context<'_>) -> Result<(), StepError> {
    for step in &context.plan.steps {
        let Step::KeepPool { members, .. } = step else { continue };
        for member in members {
            let disk = kernel_name(&context.disk(&member.role)?.id)?;
            block::set_read_only(&partition_node(&disk, member.partition), false)
                .during(format!("could not release the volume of {}", member.role))?;
        }
    }
    Ok(())
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
    fn t45_a_partition_without_a_whole_chain_stops_the_installation_and_names_the_file() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(8 << 20).unwrap();
        let options = fatfs::FormatVolumeOptions::new();
        fatfs::format_volume(image.reopen().unwrap(), options).unwrap();
        let error = require_bootable(image.path()).unwrap_err();
        assert!(error.what.contains("EFI/BOOT/BOOTX64.EFI is missing"), "{}", error.what);
        assert!(require_bootable(Path::new("/nonexistent")).is_err());
    }
}
