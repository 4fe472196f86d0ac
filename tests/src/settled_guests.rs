//! What a converge costs an installed machine that has nothing to do, with real domains of QEMU.

use std::time::Duration;

use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::machine::HOST_ADDRESS;
use bedplate_tools::qemu_img;
use toml_edit::{Item, Table, value};

use crate::answers::{self, GUEST};
use crate::failure::Failure;
use crate::running_host::Host;
use crate::story::Story;

/// Domains beside the story's own.
pub const MACHINES: usize = 20;
/// Runs, of which the middle one counts.
const RUNS: usize = 7;
/// Size of each disk.
const DISK: u64 = 1 << 20;
const IMAGE_PATH: &str = "/empty.qcow2";
/// Where the machine is told of them.
const DOCUMENT: &str = "/root/settled.toml";

/// Boots the installed machine, defines the domains, and times converges of all that is there.
pub fn measure(story: &Story) -> Result<Duration, Failure> {
    let document = with_machines(story)?;
    let host = story.boot(story.disks())?;
    host.settle()?;
    // What is measured is the host alone.
    host.run(&["virsh", "destroy", GUEST])?;
    host.write(DOCUMENT, &document)?;
    converge(&host)?;
    let defined = host.read(&["virsh", "--quiet", "list", "--all", "--name"])?;
    let defined = defined.lines().filter(|name| name.starts_with('m')).count();
    if defined != MACHINES {
        return Err(Failure::Unfit(format!("{defined} machines are defined")));
    }
    let runs: Result<Vec<Duration>, Failure> = (0..RUNS).map(|_| timed(&host)).collect();
    let mut runs = runs?;
    runs.sort();
    host.power_off()?;
    Ok(runs[RUNS / 2])
}

fn converge(host: &Host) -> Result<String, Failure> {
    host.read(&["bedplate-host", "--host-file", DOCUMENT, "converge"])
}

/// By the machine's own clock, the start of the program included.
fn timed(host: &Host) -> Result<Duration, Failure> {
    let line = format!(
        "set -e; begun=$(date +%s%N); bedplate-host --host-file {DOCUMENT} converge > /dev/null; \
         echo $(( $(date +%s%N) - begun ))"
    );
    host.read_time(&["sh", "-c", &line])
}

fn with_machines(story: &Story) -> Result<String, Failure> {
    let image = story.path("empty.qcow2");
    qemu_img::create(&image, DISK).map_err(|error| Failure::Unfit(error.to_string()))?;
    let sha256 = sha256_of(&image)?;
    story.server.offer(IMAGE_PATH, image);
    let mut document = story.document()?;
    for number in 0..MACHINES {
        let mut image = Table::new();
        let url = format!("http://{HOST_ADDRESS}:{}{IMAGE_PATH}", story.record.http_port);
        image["url"] = value(url);
        image["sha256"] = value(sha256.as_str());
        let mut machine = Table::new();
        machine["ram_mb"] = value(64);
        machine["autostart"] = value(false);
        machine["disk_image"] = Item::Table(image);
        document["vms"][&format!("m{number:02}")] = Item::Table(machine);
    }
    let text = document.to_string();
    answers::parse(&text)?;
    Ok(text)
}
