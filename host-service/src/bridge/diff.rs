//! What it takes to make bridges as intended.

use std::collections::{BTreeMap, BTreeSet};

use bedplate_model::host::{Bridge, HostFile, Nic};

use super::files::{belongs, bridge_files, files, made_by, of_bridges, uplink_names, uplinks};
use super::{Action, Observed, leases, missing, stamp, vlans};
use crate::lab;
use bedplate_resources::kind::{Description, Resource};

/// The resource of everything that leads outside, while it is not proven.
pub(super) const OUTSIDE: &str = "outside";
/// The resource of a lab of which nothing is known.
const LAB: &str = "lab";

pub(super) fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    let wanted: BTreeMap<_, _> = files(intent).into_iter().collect();
    let of_lab = of_lab(intent, observed);
    let held = of_lab.iter().find(|(_, bridge, _)| bridge.nic.is_some());
    let held = held.map(|(_, _, why)| why.as_str());
    let mut resources: Vec<_> = unproven(&wanted, observed, held).into_iter().collect();
    // What is tried is written there, and what was taken back stays as it is. So does a bridge that
    // is to lose its NIC: it must not be touched behind the back of the trial.
    let settled = resources.is_empty();
    let tried = if settled { BTreeSet::new() } else { tried(&wanted, observed) };
    for (name, bridge) in &intent.network.bridges {
        resources.push(match of_lab.iter().find(|(held, _, _)| *held == name) {
            Some((_, _, why)) => Resource::refused(name, why),
            None => one(name, bridge, observed, !tried.contains(name)),
        });
    }
    resources.extend(observed.lab_trouble.iter().map(|why| Resource::refused(LAB, why)));
    resources.extend(withdrawn(intent, &wanted, observed, &tried));
    resources
}

/// A bridge that is left as it is, and why.
type Held<'i> = (&'i String, &'i Bridge, String);

/// The bridge of the lab, when it is to lead somewhere: it must not (T42). While it is not known which
/// that is, it may be any that is to change and then leads somewhere.
fn of_lab<'i>(intent: &'i HostFile, observed: &Observed) -> Vec<Held<'i>> {
    let bridges = intent.network.bridges.iter();
    let held = bridges.filter_map(|(name, bridge)| {
        let leads = lab::leads_somewhere(bridge)?;
        if observed.lab.as_ref() == Some(name) {
            let why = format!(
                "the copies of the lab are on the bridge `{name}`, which {leads}; it is left as it \
                 is: call `bedplate-host lab destroy` first, or write `[network.bridges.{name}]` as \
                 it was"
            );
            return Some((name, bridge, why));
        }
        let why = observed.lab_trouble.as_ref()?;
        let files = bridge_files(name, bridge);
        let changes = files.iter().any(|(path, text)| observed.files.get(path) != Some(text));
        let why = format!("copies of a lab may be on `{name}`, which {leads}; it is left as it is: {why}");
        changes.then_some((name, bridge, why))
    });
    held.collect()
}

/// The bridges that lead outside, or did: what becomes of them is tried.
fn tried(wanted: &BTreeMap<String, String>, observed: &Observed) -> BTreeSet<String> {
    let mut names = uplink_names(wanted);
    names.extend(uplink_names(&observed.files));
    names.extend(observed.record.iter().flat_map(|record| uplink_names(&record.kept)));
    names
}

/// Files that lead outside and were not proven: they are tried, unless they were before, or are
/// `held`.
fn unproven(
    all: &BTreeMap<String, String>,
    observed: &Observed,
    held: Option<&str>,
) -> Option<Resource<Action>> {
    let wanted = &uplinks(all);
    // Without it nothing could be taken back, and it is not known what is to be proven.
    if let Some(why) = &observed.record_trouble {
        return Some(Resource::refused(OUTSIDE, why));
    }
    let record = observed.record.as_ref();
    let kept = record.map(|record| &record.kept);
    if kept == Some(wanted) || (wanted.is_empty() && kept.is_none_or(BTreeMap::is_empty)) {
        return None;
    }
    let trying = stamp(wanted);
    let taken_back = record.is_some_and(|record| record.taken_back.as_ref() == Some(&trying));
    let why = held.or(taken_back.then_some(
        "these settings were tried, and nobody outside was heard: the last ones that worked stand \
         instead. Correct `network` in host.toml; `bedplate-host network try-again` tries the same \
         once more",
    ));
    if let Some(why) = why {
        let standing = uplinks(&observed.files);
        return Some(match kept.is_none_or(|kept| *kept == standing) {
            true => Resource::refused(OUTSIDE, why),
            false => Resource {
                notes: vec![why.to_owned()],
                ..Resource::new(OUTSIDE, vec![Action::TakeBack])
            },
        });
    }
    Some(Resource::new(OUTSIDE, trial(all, observed, trying)))
}

fn trial(all: &BTreeMap<String, String>, observed: &Observed, trying: String) -> Vec<Action> {
    let tried = tried(all, observed);
    let (wanted, standing) = (of_bridges(&tried, all), of_bridges(&tried, &observed.files));
    let mut actions = Vec::new();
    if observed.record.as_ref().is_some_and(|record| !record.kept.is_empty()) {
        actions.push(Action::Arm { trying });
    }
    let changed = wanted.iter().filter(|(path, text)| standing.get(*path) != Some(*text));
    actions.extend(
        changed.map(|(path, content)| Action::WriteFile {
            path: path.clone(),
            content: content.clone(),
        }),
    );
    let gone = standing.keys().filter(|path| !wanted.contains_key(*path));
    actions.extend(gone.map(|path| Action::RemoveFile { path: path.clone() }));
    let written = actions.iter().any(|action| !matches!(action, Action::Arm { .. }));
    let differing = !vlans::differing(&wanted, &observed.bridges).is_empty();
    if written || differing || observed.applied.as_ref() != Some(&stamp(&observed.files)) {
        actions.push(Action::Reload);
    }
    actions.push(Action::Prove);
    // Not before: until then it may have to stand again.
    let left = made(standing.keys().filter(|path| !wanted.contains_key(*path)));
    let left = left.filter(|name| stands_alone(observed, name));
    actions.extend(left.map(|name| Action::RemoveBridge { bridge: name.to_owned() }));
    actions
}

/// The bridges that these files make.
fn made<'p>(paths: impl Iterator<Item = &'p String>) -> impl Iterator<Item = &'p str> {
    paths.filter_map(|path| made_by(path))
}

/// Whether a bridge stands, with no guest on it.
fn stands_alone(observed: &Observed, name: &str) -> bool {
    observed.bridges.get(name).is_some_and(|found| found.guests().next().is_none())
}

fn one(name: &str, bridge: &Bridge, observed: &Observed, settled: bool) -> Resource<Action> {
    let mut actions = Vec::new();
    let mut notes = Vec::new();
    if settled {
        let wanted = bridge_files(name, bridge).into_iter();
        let changed = wanted.filter(|(path, text)| observed.files.get(path) != Some(text));
        actions.extend(changed.map(|(path, content)| Action::WriteFile { path, content }));
        // A run that was cut off may have written files that networkd never read.
        let applied = observed.applied.as_ref() == Some(&stamp(&observed.files));
        let standing = observed.bridges.get(name);
        let differing = standing.is_some_and(|found| found.vlans_differ(bridge.vlan_aware));
        if !actions.is_empty() || !applied || differing {
            actions.push(Action::Reload);
        }
        if missing(bridge, standing).is_some() || !actions.is_empty() {
            actions.push(Action::Await { bridge: name.to_owned() });
        }
        match lease(name, bridge, observed) {
            Ok(action) => actions.extend(action),
            Err(why) => notes.push(why),
        }
    } else if bridge.nat {
        // Never while its NIC may come back: the LAN has somebody who gives leases.
        notes.push(format!("{name} gives leases once the change is kept and converge runs again"));
    }
    Resource { notes, ..Resource::new(name, actions) }
}

fn lease(name: &str, bridge: &Bridge, observed: &Observed) -> Result<Option<Action>, String> {
    if !bridge.nat {
        return Ok(None);
    }
    let Some(dnsmasq) = &observed.dnsmasq else {
        return Err("dnsmasq is not installed: guests get no leases".to_owned());
    };
    let Some(unit) = leases::unit(name, bridge, dnsmasq) else { return Ok(None) };
    let runs = observed.leases.get(name) == Some(&(unit.clone(), true));
    Ok((!runs).then(|| Action::Lease { bridge: name.to_owned(), unit }))
}

/// Files and leases of bridges that are no longer declared.
fn withdrawn(
    intent: &HostFile,
    wanted: &BTreeMap<String, String>,
    observed: &Observed,
    tried: &BTreeSet<String>,
) -> Option<Resource<Action>> {
    let stale = observed.files.keys().filter(|path| !wanted.contains_key(*path));
    let stale: Vec<&String> = stale.filter(|path| !belongs(path, tried)).collect();
    // Its files are how it is known to be ours, so they stay as long as it does.
    let (gone, used): (Vec<&str>, Vec<&str>) = made(stale.iter().copied())
        .filter(|name| observed.bridges.contains_key(*name))
        .partition(|name| stands_alone(observed, name));
    let held: BTreeSet<String> = used.iter().map(|name| (*name).to_owned()).collect();
    let mut actions: Vec<_> =
        gone.iter().map(|name| Action::RemoveBridge { bridge: (*name).to_owned() }).collect();
    let stale = stale.into_iter().filter(|path| !belongs(path, &held)).cloned();
    actions.extend(stale.map(|path| Action::RemoveFile { path }));
    if !actions.is_empty() {
        actions.push(Action::Reload);
    }
    let gives = |name: &str| intent.network.bridges.get(name).is_some_and(|bridge| bridge.nat);
    let idle = observed.leases.keys().filter(|name| !gives(name));
    actions.extend(idle.map(|name| Action::StopLeases { bridge: name.clone() }));
    let wants: Vec<String> = used.into_iter().map(|name| still_used(name, observed)).collect();
    let nothing = actions.is_empty() && wants.is_empty();
    (!nothing).then(|| Resource { wants, ..Resource::new("withdrawn", actions) })
}

fn still_used(name: &str, observed: &Observed) -> String {
    let ports = observed.bridges.get(name).into_iter().flat_map(|found| found.guests());
    format!(
        "{name} is no longer declared but still used by {}: restart its guests (`bedplate-host vm \
         restart`), then run `bedplate-host converge` again",
        ports.collect::<Vec<_>>().join(", ")
    )
}

pub(super) fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
    let bridge = intent.network.bridges.get(name)?;
    let nic = match &bridge.nic {
        None => "isolated",
        Some(Nic::Name(nic)) => nic,
        Some(Nic::Mac(mac)) => mac,
    };
    let addresses = match (bridge.dhcp, bridge.addresses.as_slice()) {
        (true, _) => "DHCP".to_owned(),
        (false, []) => "no address".to_owned(),
        (false, all) => all.join(", "),
    };
    let options = [(bridge.vlan_aware, ", VLANs"), (bridge.nat, ", NAT")];
    let options: String = options.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
    let reality = match observed.bridges.get(name) {
        None => "not there".to_owned(),
        Some(found) => {
            let ports: Vec<_> = found.ports.iter().map(|port| port.name.as_str()).collect();
            let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
            let (ports, addresses) =
                (or_none(ports.join(", ")), or_none(found.addresses.join(", ")));
            let vlans = if found.vlan_aware == Some(true) { "; VLANs" } else { "" };
            format!("ports: {ports}; addresses: {addresses}{vlans}")
        }
    };
    Some(Description { intent: format!("{nic}, {addresses}{options}"), reality })
}
