//! The medium on a machine whose installation is finished: on to the installed disk, once.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bedplate_model::host::{HostFile, Then};
use bedplate_model::identity::{Purpose, derive};
use bedplate_tools::efi::{self, BootOption, Variables};
use uuid::Uuid;

use crate::device::{kernel_name, partition_node};
use crate::error::{During as _, StepError};
use bedplate_facts::roots::number;

/// Our vendor of EFI variables.
const VENDOR: Uuid = Uuid::from_u128(0x3f0c_2a5e_7b1d_4c86_9a44_d6e1_57b8_c203);

/// Seconds since 1970, by the machine's clock, at which the installer last went on. It stands in
/// the firmware because nothing is written to a disk.
const LAST: &str = "BedplateWentOn";

/// Within this time a machine that comes back to the medium is left alone, in seconds.
const HOUR: u64 = 3600;

/// The ESP is the first partition of the OS disk.
const ESP: u32 = 1;

/// Makes the firmware start the installed disk next and asks for a restart; the second time
/// within an hour it only waits. Returns what happens next, and what is said of it.
pub fn go_on(host: &HostFile) -> (Then, String) {
    let name = &host.host.name;
    let installed = format!("{name} is installed and sealed on these disks; nothing is written.");
    let wait = |why: String| {
        let help = "Take the medium out and start the machine again.";
        (Then::Wait, format!("{installed} {why}{help}"))
    };
    if host.install.then == Then::Wait {
        return wait(String::new());
    }
    match set_next(host) {
        Ok(true) => {
            (Then::Reboot, format!("{installed} The machine now starts from the installed disk."))
        }
        Ok(false) => wait(
            "The medium was started a second time within an hour, or the clock went back. ".into(),
        ),
        Err(error) => wait(format!(
            "The firmware could not be told to start the installed disk ({}). ",
            crate::run::explain(&error).replace("\n  because: ", ": ")
        )),
    }
}

fn set_next(host: &HostFile) -> Result<bool, StepError> {
    let variables = Variables::new(Path::new(efi::MOUNT));
    let what = || "could not read the firmware's variables".to_owned();
    let last = variables.read(LAST, VENDOR).during(what())?.and_then(|bytes| seconds(&bytes));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let go = may_go_on(last, now);
    if go || last.is_some_and(|last| last > now) {
        // A clock that went back must not hold the machine for years.
        variables.write(LAST, VENDOR, &now.to_le_bytes()).during("could not set a variable")?;
    }
    if !go {
        return Ok(false);
    }
    let option = installed_disk(host)?;
    let number = variables.boot_option(&option).during("could not make a boot option")?;
    variables.set_boot_next(number).during("could not set BootNext")?;
    Ok(true)
}

fn seconds(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Never a loop: a clock that stands still or goes back counts as the same hour.
fn may_go_on(last: Option<u64>, now: u64) -> bool {
    last.is_none_or(|last| now >= last.saturating_add(HOUR))
}

fn installed_disk(host: &HostFile) -> Result<BootOption, StepError> {
    let role = &host.os.disk;
    let disk = host.disks.get(role).ok_or_else(|| StepError::new("no OS disk is named"))?;
    let name = kernel_name(&disk.id)?;
    let guid = derive(host.host.id, Purpose::GptEsp, role, 0);
    let partition = partition_node(&name, ESP);
    let sys = Path::new("/sys/class/block");
    let sectors = |file: &str| {
        let path = sys.join(partition.file_name().unwrap_or_default()).join(file);
        number(&path).ok_or_else(|| StepError::new(format!("could not read {}", path.display())))
    };
    // sysfs counts 512 bytes whatever the disk does.
    let sector = number(&sys.join(&name).join("queue/logical_block_size")).unwrap_or(512) / 512;
    let sector = sector.max(1);
    Ok(BootOption {
        description: format!("Bedplate {}", host.host.name),
        partition: ESP,
        start: sectors("start")? / sector,
        blocks: sectors("size")? / sector,
        guid,
        file: "\\EFI\\BOOT\\BOOTX64.EFI".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_within_an_hour_it_stops() {
        assert!(may_go_on(None, 1000));
        assert!(!may_go_on(Some(1000), 1000 + HOUR - 1));
        assert!(may_go_on(Some(1000), 1000 + HOUR));
    }

    #[test]
    fn f9_a_clock_that_stands_still_or_goes_back_never_makes_a_loop() {
        assert!(!may_go_on(Some(1000), 1000));
        assert!(!may_go_on(Some(4_000_000_000), 0));
        assert!(!may_go_on(Some(u64::MAX), u64::MAX - 1));
    }
}
