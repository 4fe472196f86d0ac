//! Pools over several disks.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key};
use crate::rules;

pub(super) const POOL: Block = block("pools.<name>", &[
    key("mount", Text(rules::absolute_path), Required, Plan, "\"/mnt/bulk\"", "Absolute mount point."),
    key("raid", Choice(&["raid1"]), Default(Value::Text("raid1")), Only, "\"raid1\"", "Only `raid1`, for data and metadata."),
    key("disks", Texts(rules::role), Required, Plan, "[\"bulk1\", \"bulk2\"]", "Roles of the members, two at least."),
    key("scrub", Text(rules::calendar), Default(Value::Text("monthly")), Toplevel, "\"monthly\"", "When everything is read, and repaired where one copy is wrong: a systemd calendar expression, or `never`."),
]);
