//! What deriving the keys costs an installed machine: one volume after the other, by the recovery
//! passphrase, with nothing beside it.

use std::time::Duration;

use bedplate_model::host::Recovery;

use crate::answers::{self, GUEST};
use crate::failure::Failure;
use crate::probes::volumes;
use crate::seed::STICK;
use crate::story::Story;

/// Prints the nanoseconds that all of it took. The passphrase comes as typed: without the end of the
/// line.
const TIMED: &str = "set -e; mkdir -p /run/stick; mount -o ro /dev/disk/by-uuid/$1 /run/stick; \
    secret=/run/stick/$2; shift 2; begun=$(date +%s%N); \
    for volume; do cryptsetup open --test-passphrase --key-slot 1 \"$volume\" <\"$secret\"; done; \
    echo $(( $(date +%s%N) - begun )); umount /run/stick";

/// Boots the installed machine and opens the recovery passphrase's keyslot of each volume.
pub fn one_after_the_other(story: &Story) -> Result<Duration, Failure> {
    let host_file = answers::parse(&story.document()?.to_string())?;
    let Recovery::Stick(recovery) = &host_file.unlock.recovery else {
        return Err(Failure::Unfit("the recovery passphrase is on no stick".to_owned()));
    };
    let volumes = volumes(&host_file);
    let host = story.boot(story.disks())?;
    host.settle()?;
    // What is measured is the host alone.
    host.run(&["virsh", "destroy", GUEST])?;
    let words = ["sh", "-c", TIMED, "sh", STICK, recovery];
    let volumes: Vec<&str> = volumes.iter().map(|(_, device)| device.as_str()).collect();
    let took = host.read_time(&[words.as_slice(), &volumes].concat())?;
    host.power_off()?;
    Ok(took)
}
