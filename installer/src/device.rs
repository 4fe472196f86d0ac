//! Devices by their stable names, and whether they are still what the plan says.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bedplate_disks::{Claim, ClaimError, Identity, Lent, partition_name};
use bedplate_events::DeviceState;
use bedplate_facts::disks::read_one;
use bedplate_facts::roots::Roots;
use bedplate_model::plan::DiskTarget;

use crate::error::{During as _, StepError};

/// How long a partition node may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);

/// The device as its owner knows it.
pub fn owner_name(target: &DiskTarget) -> String {
    format!("{} ({})", target.role, target.id)
}

/// The kernel name that the by-id name stands for at this moment.
pub fn kernel_name(id: &str) -> Result<String, StepError> {
    let link = PathBuf::from("/dev/disk/by-id").join(id);
    let node = fs::canonicalize(&link).during(format!("{} is not there", link.display()))?;
    let name = node.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| StepError::new(format!("{} has no kernel name", node.display())))
}

/// The node of a partition of a disk.
pub fn partition_node(disk: &str, partition: u32) -> PathBuf {
    PathBuf::from("/dev").join(partition_name(disk, partition))
}

/// The node of a partition of the disk of a target, once it is there.
pub fn wait_for_partition(target: &DiskTarget, partition: u32) -> Result<PathBuf, StepError> {
    let node = partition_node(&kernel_name(&target.id)?, partition);
    let deadline = Instant::now() + PATIENCE;
    while !node.exists() {
        if Instant::now() > deadline {
            return Err(StepError::new(format!("{} did not appear", node.display())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(node)
}

/// Whether the disk is still the one of the plan, and in nobody's use.
pub fn check(target: &DiskTarget) -> Result<String, StepError> {
    let untouched = |error: StepError| error.on(owner_name(target), DeviceState::Untouched);
    let name = kernel_name(&target.id).map_err(untouched)?;
    let facts = read_one(&Roots::identity(), &name)
        .ok_or_else(|| StepError::new(format!("/dev/{name} has no medium any more")))
        .map_err(untouched)?;
    let differences = Identity::from(target).differences(&facts);
    if differences.is_empty() {
        return Ok(name);
    }
    let message = format!("the disk is not as planned: {}", differences.join("; "));
    Err(untouched(StepError::new(message)))
}

/// The disk, open for writing and for us alone.
pub fn claim(target: &DiskTarget) -> Result<Claim, StepError> {
    Claim::disk(&Identity::from(target)).map_err(|error| unclaimed(target, error))
}

/// A partition of the disk, open for writing and for us alone.
pub fn claim_partition(target: &DiskTarget, partition: u32) -> Result<Claim, StepError> {
    let claimed = Claim::partition(&Identity::from(target), partition);
    claimed.map_err(|error| unclaimed(target, error))
}

/// A partition of the disk, for a library that opens it by itself.
pub fn lend_partition(target: &DiskTarget, partition: u32) -> Result<Lent, StepError> {
    let lent = Lent::partition(&Identity::from(target), partition);
    lent.map_err(|error| unclaimed(target, error))
}

/// What the open volume of the disk lies on, for its header to be read and written to.
pub fn lend_volume(target: &DiskTarget, mapper: &str) -> Result<Lent, StepError> {
    Lent::beneath(mapper).map_err(|error| unclaimed(target, error))
}

fn unclaimed(target: &DiskTarget, error: ClaimError) -> StepError {
    let what = "the disk could not be taken for us alone as the one that was planned";
    StepError { source: Some(Box::new(error.fault)), ..StepError::new(what) }
        .on(owner_name(target), DeviceState::Untouched)
}
