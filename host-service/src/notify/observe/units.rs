//! Units of ours that failed.

use bedplate_tools::systemctl;

use super::super::machine::{Area, Condition};
use super::LookError;

/// Our own units.
const UNITS: &str = "bedplate-*";
/// The unit that tells: it fails because nobody could be told.
const TELLER: &str = "bedplate-notify.service";

pub(super) fn look() -> Result<Vec<Condition>, LookError> {
    let failed = systemctl::failed(UNITS)?;
    Ok(failed.iter().filter(|unit| *unit != TELLER).map(|unit| unit_condition(unit)).collect())
}

fn unit_condition(unit: &str) -> Condition {
    Condition {
        area: Area::Units,
        name: unit.to_owned(),
        kind: "failed".into(),
        title: format!("{unit} failed"),
        cleared: format!("{unit} has not failed any more"),
        text: format!("`journalctl -u {unit}` says why."),
        urgent: true,
        patience: 0,
    }
}
