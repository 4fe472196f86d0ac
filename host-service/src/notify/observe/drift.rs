//! What differs from host.toml, and guests that stopped.

use std::time::Instant;

use super::super::machine::{Area, Condition};
use super::{LookError, hangs, unseen_as};
use crate::everything::{self, Look};
use bedplate_guests::{Want, of_kind};
use bedplate_resources::context::Context;
use bedplate_resources::status::Status as Resource;

/// Somebody may just be changing something: what differs is told when it still does later.
const DRIFT_PATIENCE: u64 = 15 * 60;

/// The looks at what may differ.
pub(super) struct Looks(Vec<Look>);

/// What was found.
#[derive(Default)]
pub(super) struct Drifted {
    /// What was looked at, all of it.
    pub areas: Vec<Area>,
    /// What wants somebody.
    pub conditions: Vec<Condition>,
    /// What did not end in time.
    pub failure: Option<LookError>,
}

/// Begins to look, at everything at the same time. Whoever calls has the lock of what changes something.
pub(super) fn begin(context: &Context) -> Looks {
    Looks(everything::look_for_drift(context))
}

impl Looks {
    /// What was found by then. What did not end hides nothing else, and nothing counts as over by it.
    pub(super) fn end(self, until: Instant) -> Drifted {
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for look in self.0 {
            let what = look.part.what;
            match look.by(until) {
                Some(found) => all.extend(found),
                None => silent.push(what),
            }
        }
        let mut found = Drifted::default();
        // While what runs guests says nothing, no guest is well by that.
        let (blind, all): (Vec<_>, Vec<_>) = all.into_iter().partition(is_blind);
        if silent.is_empty() {
            found.areas.push(Area::Drift);
            if blind.is_empty() {
                found.areas.push(Area::Guests);
            }
        } else {
            found.failure = Some(hangs(silent.join(", ")));
        }
        found.conditions.extend(blind.iter().map(blind_condition));
        found.conditions.extend(all.iter().flat_map(guest_conditions));
        let differs: Vec<_> = all.into_iter().filter(is_told).collect();
        found.conditions.extend(drift_condition(&differs));
        found
    }
}

/// Whether no guest could be looked at.
fn is_blind(one: &Resource) -> bool {
    of_kind(one.kind).is_some() && one.name.is_none() && one.refused.is_some()
}

fn blind_condition(one: &Resource) -> Condition {
    unseen_as("guests", "no guest can be looked at", one.refused.as_deref().unwrap_or_default())
}

/// What stopped a guest, or wants its owner: each by itself, because it does not wait for what differs.
pub(super) fn guest_conditions(one: &Resource) -> Vec<Condition> {
    let Some(driver) = of_kind(one.kind) else { return Vec::new() };
    let wants = one.wants.iter().filter(|want| driver.judge(want) != Want::HasTime);
    let name = one.name.as_deref().unwrap_or("*");
    let condition = |want: &String| {
        // What stands behind it has numbers that change.
        let kind = want.split_once(':').map_or(want.as_str(), |(kind, _)| kind);
        let urgent = driver.judge(want) == Want::Urgent;
        Condition {
            area: Area::Guests,
            name: format!("{} {name}, {kind}", one.kind),
            kind: kind.to_owned(),
            title: format!("machine {name}: {kind}"),
            cleared: format!("machine {name}: no longer so: {kind}"),
            text: format!("{name}: {want}"),
            urgent,
            patience: if urgent { 0 } else { DRIFT_PATIENCE },
        }
    };
    wants.map(condition).collect()
}

/// A backup that has not run yet is told of when it is too old, and what a machine wants is told by itself
/// ([`guest_conditions`]); a restart that is pending has time: whoever changed the machine was told.
pub(super) fn is_told(one: &Resource) -> bool {
    match one.kind {
        "backup" => false,
        kind if of_kind(kind).is_some() => !one.actions.is_empty() || one.refused.is_some(),
        _ => !one.agrees,
    }
}

pub(super) fn drift_condition(found: &[Resource]) -> Option<Condition> {
    let line = |one: &Resource| {
        let name = one.name.as_deref().unwrap_or("*");
        let what = one.refused.iter().chain(&one.actions).chain(&one.wants);
        let what: Vec<&str> = what.map(String::as_str).collect();
        format!("{} {name}: {}", one.kind, what.join("; "))
    };
    let lines: Vec<String> = found.iter().map(line).collect();
    let names =
        found.iter().map(|one| format!("{} {}", one.kind, one.name.as_deref().unwrap_or("*")));
    let kind = names.collect::<Vec<_>>().join(", ");
    (!found.is_empty()).then(|| Condition {
        area: Area::Drift,
        name: "host.toml".into(),
        title: format!("{} things differ from host.toml", found.len()),
        cleared: "everything is as host.toml says again".into(),
        text: format!(
            "{}\n`bedplate-host converge` does what can be done without you.",
            lines.join("\n")
        ),
        urgent: false,
        patience: DRIFT_PATIENCE,
        kind,
    })
}
