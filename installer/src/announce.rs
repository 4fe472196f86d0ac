//! Says on the local network that this machine can be installed over ssh.

use std::time::Duration;

use bedplate_discovery::{Activity, Announcement, Disk, Summary};
use bedplate_formats::remote::State;
use bedplate_model::facts::Facts;

use crate::error::{During as _, StepError};
use crate::facts::Source;
use crate::places::Places;
use crate::remote;

/// Port of the live system's ssh server.
const PORT: u16 = 22;

/// How often it is looked whether there is something new to say.
const LOOK_EACH: Duration = Duration::from_secs(2);

/// Transports of what is no disk to install on.
const NOT_TOLD: [&str; 6] = ["loop", "zram", "optical", "floppy", "md", "dm"];

/// Announces this machine until it is stopped.
pub fn announce(places: &Places, source: &Source) -> Result<(), StepError> {
    let facts = source.read()?;
    let mut state = remote::state(places);
    let announcement = Announcement::begin(&name(&facts), PORT, &summary(&facts, &state))
        .during("this machine cannot be found by `bedplate discover`")?;
    loop {
        std::thread::sleep(LOOK_EACH);
        let now = remote::state(places);
        if now != state {
            state = now;
            announcement
                .update(&summary(&facts, &state))
                .during("could not announce what the installer is at")?;
        }
    }
}

/// Differs from machine to machine, and says no more than the network knows of each anyway: the
/// end of an address that every frame carries.
fn name(facts: &Facts) -> String {
    let mac = facts.nics.iter().map(|nic| nic.mac.as_str()).min().unwrap_or_default();
    let digits: String = mac.chars().filter(char::is_ascii_hexdigit).skip(6).take(6).collect();
    if digits.is_empty() { "bedplate-live".into() } else { format!("bedplate-{digits}") }
}

fn summary(facts: &Facts, state: &State) -> Summary {
    let disk = |disk: &bedplate_model::facts::DiskFacts| Disk {
        transport: disk.transport.clone(),
        size: disk.size,
    };
    let medium = |name: &str| facts.boot_medium.as_deref() == Some(name);
    let told = facts
        .disks
        .iter()
        .filter(|disk| !NOT_TOLD.contains(&disk.transport.as_str()) && !medium(&disk.kernel_name));
    Summary {
        activity: match state {
            State::Waiting => Activity::Waiting,
            State::Busy | State::Installing { .. } => Activity::Busy,
            State::Ended { .. } => Activity::Ended,
        },
        memory_bytes: Some(facts.memory_bytes),
        disks: told.map(disk).collect(),
        more_disks: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_names_no_disk_and_no_host() {
        let inventory = include_str!("../../profiles/hypervisor/inventory.json");
        let facts: Facts = serde_json::from_str(inventory).unwrap();
        let title = "install hypervisor".to_owned();
        let state = State::Installing { title, plan: Some("c0ffee".into()) };
        let told = format!("{:?} {}", summary(&facts, &state), name(&facts));
        assert!(told.contains("Busy"), "{told}");
        let serials = facts.disks.iter().filter_map(|disk| disk.serial.as_deref());
        for secret in serials.chain(["hypervisor", "c0ffee", "Samsung"]) {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
        insta::assert_snapshot!(told.replace("}, ", "},\n"));
    }
}
