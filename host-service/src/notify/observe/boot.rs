//! EFI system partitions that are not as they were written.

use std::fs;
use std::time::Duration;

use super::super::machine::{Area, Condition};
use super::LOOK_PATIENCE;
use bedplate_platform::generation;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status as Resource;

/// How long it is taken for granted that EFI system partitions are as they were.
const BOOT_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Its time says when they were, in the directory of what is gone with the next boot.
const BOOT_WELL: &str = "esp-well";

/// What the machine boots by. Whoever calls has the lock of what is being written. None for a day after all was well: every
/// file is read from the disks.
pub(super) fn look(context: &Context) -> Option<Vec<Condition>> {
    let well = context.runtime.join(BOOT_WELL);
    let since = fs::metadata(&well).and_then(|found| found.modified()).ok();
    if since.and_then(|since| since.elapsed().ok()).is_some_and(|age| age < BOOT_PAUSE) {
        return None;
    }
    let found = generation::compared(&context.intent);
    if found.iter().all(|one| one.agrees) {
        // Without it the next look comes sooner.
        fs::write(&well, "").ok();
    }
    Some(found.iter().filter_map(boot_condition).collect())
}

/// A partition that is not as it was written.
pub fn boot_condition(found: &Resource) -> Option<Condition> {
    if found.agrees {
        return None;
    }
    let name = found.name.clone().unwrap_or_default();
    let lines: Vec<&str> = found.wants.iter().chain(&found.refused).map(String::as_str).collect();
    Some(Condition {
        area: Area::Boot,
        kind: lines.join("; "),
        title: format!("the EFI system partition on {name} is not as it was written"),
        cleared: format!("the EFI system partition on {name} is as it was written"),
        text: format!("{}\nThe machine may not start again from this disk.", lines.join("\n")),
        urgent: true,
        patience: LOOK_PATIENCE,
        name,
    })
}
