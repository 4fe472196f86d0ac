//! Disks that wear, or do not answer.

use super::super::machine::{Area, Condition};
use super::LOOK_PATIENCE;
use crate::wear;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status as Resource;

/// What the disks say.
pub(super) fn look(context: &Context) -> Vec<Condition> {
    wear::compared(context).iter().filter_map(disk_condition).collect()
}

/// A disk that wears, or that does not answer. Numbers do not make it another one: they grow.
pub(super) fn disk_condition(disk: &Resource) -> Option<Condition> {
    let name = disk.name.clone()?;
    let what: Vec<&str> = disk.refused.iter().chain(&disk.wants).map(String::as_str).collect();
    let is_silent = disk.refused.is_some();
    (!what.is_empty()).then(|| Condition {
        area: Area::Disks,
        kind: format!("{} things, silent: {is_silent}", what.len()),
        title: format!("disk {name} wants somebody"),
        cleared: format!("disk {name} is well again"),
        text: format!("{}\n{}", disk.intent.as_deref().unwrap_or(&name), what.join("\n")),
        urgent: true,
        patience: if is_silent { LOOK_PATIENCE } else { 0 },
        name,
    })
}
