//! The keys of a lamp.

use super::{Absent::*, Block, Form::*, Place::*, block, key};
use crate::{rules, section::Section};
use bedplate_model::host::Lamp;

pub(super) const LAMP: Block = block("lamps.<name>", &[
    key("pool", Text(rules::role), Required, Machines, "\"vmstore\"", "Pool that holds the directory of the lamp."),
]);

pub(crate) fn lamp(section: &Section<'_>) -> Lamp {
    Lamp { pool: section.name("pool") }
}
