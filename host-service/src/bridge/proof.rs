//! Whether what is tried leads outside: it is kept, or taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_model::host::{Bridge, HostFile};
use bedplate_tools::ip;

use super::files::{files, has_address, uplink_names, uplinks};
use super::{BridgeError, LEASE, ObservedBridge, heard, links, missing, rollback};
use bedplate_engine::StepReporter;
use bedplate_resources::context::Context;

/// Keeps what leads outside, or takes it back. Where nothing was ever proven there is nothing to
/// go back to, and what stands is kept with a warning.
pub(super) fn prove(context: &Context, of_step: &StepReporter<'_>) -> Result<(), BridgeError> {
    let state = &context.state;
    let proven: BTreeMap<_, _> = files(&context.intent).into_iter().collect();
    let record = rollback::read(state)?.unwrap_or_default();
    let has_way_back = record.trying.is_some();
    let judged = heard_outside(&context.intent, &record.kept);
    match (judged, has_way_back) {
        (Ok(None), _) => rollback::keep(state, &uplinks(&proven))?,
        (Ok(Some(why)), false) => {
            let text = format!("{why}; the settings are kept, there are none to go back to");
            of_step.warn(text);
            rollback::keep(state, &uplinks(&proven))?;
        }
        (Ok(Some(why)), true) => {
            rollback::take_back(&context.configuration, state, &context.runtime)?;
            return Err(BridgeError::TakenBack(why));
        }
        (Err(error), _) => {
            rollback::take_back(&context.configuration, state, &context.runtime)?;
            return Err(error);
        }
    }
    Ok(())
}

/// Waits until somebody is heard on every bridge that leads outside; what is missing after a
/// minute. Where the last of them lost its address, somebody must be heard on another link.
fn heard_outside(
    intent: &HostFile,
    kept: &BTreeMap<String, String>,
) -> Result<Option<String>, BridgeError> {
    let ours = cut_off(intent, kept);
    let all = ip::addresses()?;
    let bridges = || intent.network.bridges.iter().filter(|(_, bridge)| bridge.nic.is_some());
    for (name, _) in bridges() {
        // An answer from before the change proves nothing. One that does not exist knows nobody.
        let _ = ip::forget_neighbours(name);
    }
    for link in ours.iter().flat_map(|ours| heard::other_links(&all, ours)) {
        let _ = ip::forget_neighbours(&link.name);
    }
    let began = Instant::now();
    loop {
        let all = ip::addresses()?;
        let links = links(&all);
        let mut why = None;
        for (name, bridge) in bridges() {
            why = why.or(silent(name, bridge, links.get(name))?);
        }
        if let Some(ours) = &ours {
            why = why.or(silent_elsewhere(&heard::other_links(&all, ours))?);
        }
        if why.is_none() || began.elapsed() > LEASE {
            return Ok(why);
        }
        sleep(Duration::from_millis(500));
    }
}

fn silent(
    name: &str,
    bridge: &Bridge,
    found: Option<&ObservedBridge>,
) -> Result<Option<String>, BridgeError> {
    if let Some(why) = missing(bridge, found) {
        return Ok(Some(format!("{name}: {why}")));
    }
    // Without an address nobody can be asked; whether somebody is cut off, all links say together.
    let Some(found) = found.filter(|found| !found.addresses.is_empty()) else { return Ok(None) };
    let heard = heard::outside(name, bridge, found)?;
    Ok((!heard).then(|| format!("{name}: nobody outside was heard within {} s", LEASE.as_secs())))
}

/// Where a bridge that leads outside had an address and none has one now, this machine may be cut
/// off: the bridges that prove nothing about it. Behind an isolated one are guests alone.
pub(super) fn cut_off(
    intent: &HostFile,
    kept: &BTreeMap<String, String>,
) -> Option<BTreeSet<String>> {
    let wanted: BTreeMap<_, _> = files(intent).into_iter().collect();
    let lost = has_address(kept) && !has_address(&uplinks(&wanted));
    let ours = || intent.network.bridges.keys().cloned().chain(uplink_names(kept)).collect();
    lost.then(ours)
}

fn silent_elsewhere(links: &[heard::OtherLink]) -> Result<Option<String>, BridgeError> {
    for link in links {
        if heard::behind_other(link)? {
            return Ok(None);
        }
    }
    Ok(Some(format!(
        "no bridge with a NIC has an address any more, and nobody outside was heard on another \
         link within {} s",
        LEASE.as_secs()
    )))
}
