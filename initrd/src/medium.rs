//! Finding the medium this initrd came from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_formats::boot::MEDIUM_LABEL;
use bedplate_tools::block::{self, Block};
use bedplate_tools::mount::{self, Access, Mount};
use bedplate_tools::signature::Signature;

use bedplate_events::cause::in_line;

use crate::console::Console;
use crate::early::make_directory;
use crate::error::Error;
use crate::uevents::Uevents;

/// Where it is mounted.
pub(crate) const MEDIUM: &str = "/run/bedplate/medium";

/// How long to wait quietly.
const PATIENCE: Duration = Duration::from_secs(15);

/// Mounts the medium whose build is ours; waits for it as long as it takes.
pub(crate) fn mount(build: &str, console: &Console) -> Result<PathBuf, Error> {
    let target = PathBuf::from(MEDIUM);
    make_directory(&target)?;
    let uevents = Uevents::open()?;
    let mut speak_at = Instant::now() + PATIENCE;
    let mut refused: Vec<Block> = Vec::new();
    loop {
        for device in candidates()? {
            if refused.contains(&device) {
                continue;
            }
            match try_device(&device, build, &target) {
                Ok(true) => {
                    console.say(&format!("medium found on {}", device.node.display()));
                    return Ok(target);
                }
                Ok(false) => {
                    console.say(&format!("{} holds another build", device.node.display()));
                    refused.push(device);
                }
                Err(error) => console.say(&in_line(&error)),
            }
        }
        if Instant::now() >= speak_at {
            console.say(&format!("no device carries the medium (build {build}) yet."));
            console.say("Plug it in, or in again; the machine goes on by itself.");
            speak_at = Instant::now() + PATIENCE;
        }
        uevents.wait(&[], Some(speak_at))?;
    }
}

fn candidates() -> Result<Vec<Block>, Error> {
    let all = block::disks()
        .map_err(|source| Error::file("list", Path::new("/sys/class/block"), source))?;
    let label = Signature::Iso9660 { volume_id: MEDIUM_LABEL.to_owned() };
    Ok(all.into_iter().filter(|device| device.signature().as_ref() == Some(&label)).collect())
}

/// Whether the device is the one; it stays mounted then.
fn try_device(device: &Block, build: &str, target: &Path) -> Result<bool, Error> {
    let node = device.node.to_string_lossy();
    Mount { source: &node, target, kind: "iso9660", access: Access::ReadOnly, options: "" }
        .mount_restricted()?;
    let found = fs::read_to_string(target.join("live/build"));
    if found.is_ok_and(|text| text.trim() == build) {
        return Ok(true);
    }
    mount::unmount(target)?;
    Ok(false)
}
