//! Machines that a backup left held.

use super::super::machine::{Area, Condition};
use super::LookError;
use bedplate_events::cause::in_line;
use bedplate_guests::hold::{HoldError, Recovered, StillHeld};

/// None while a backup holds machines.
pub(super) fn conditions(
    held: Result<Option<Recovered>, HoldError>,
) -> Result<Option<Vec<Condition>>, LookError> {
    let of = |found: Recovered| found.left.iter().map(machine_condition).collect();
    Ok(held?.map(of))
}

/// Whoever uses it sees that it hangs; its backups fail until it is let go.
fn machine_condition(StillHeld { name, advice, why }: &StillHeld) -> Condition {
    if why.is_late() {
        return Condition {
            area: Area::Machines,
            name: name.clone(),
            kind: "silent".into(),
            title: format!("the agent of machine {name} does not answer"),
            cleared: format!("the agent of machine {name} answers again"),
            text: format!(
                "{}\nIts backups go on with a pause. The agent is asked again every ten minutes; see in \
                 the guest whether it runs; {advice}.",
                in_line(why)
            ),
            urgent: true,
            patience: 0,
        };
    }
    Condition {
        area: Area::Machines,
        name: name.clone(),
        kind: "held".into(),
        title: format!("machine {name} may stand still since a backup that was cut off"),
        cleared: format!("machine {name} is held no longer"),
        text: format!(
            "A backup that was cut off froze or paused it, and it cannot be let go: {}\n\
             It is tried again every ten minutes, and backups of its disks fail until then; {advice}.",
            in_line(why)
        ),
        urgent: true,
        patience: 0,
    }
}
