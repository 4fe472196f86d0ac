//! Whether the NICs that the document names are there, and can be ports of bridges.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::shown;
use super::refusal::Refusal;
use bedplate_events::shown::listed;
use bedplate_model::facts::{Facts, NicFacts};
use bedplate_model::host::{HostFile, Nic, Platform};
use bedplate_model::nic::{WIRED, is_of_software, is_wireless_name};

/// Refuses what would leave the machine without a network. An inventory that says nothing about NICs
/// refuses nothing.
pub(super) fn nics(host: &HostFile, facts: &Facts, refusals: &mut Vec<Refusal>) {
    if facts.nics.is_empty() {
        return;
    }
    let (called, addressed) = (called(facts), addressed(facts));
    let meant = |wanted: &Nic| match wanted {
        Nic::Name(name) => called.get(name.as_str()).cloned().unwrap_or_default(),
        Nic::Mac(mac) => addressed.get(&mac.to_ascii_lowercase()).cloned().unwrap_or_default(),
    };
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ports: BTreeMap<String, &NicFacts> = BTreeMap::new();
    for (name, bridge) in &host.network.bridges {
        if called.contains_key(name.as_str()) {
            let message = format!("`network.bridges.{name}`: a NIC of the machine has this name");
            let help = "give the bridge another name, such as \"br0\"";
            refusals.push(Refusal::machine(message, help));
        }
        let Some(wanted) = bridge.nic.as_ref().filter(|nic| !is_made(nic, host)) else { continue };
        match one(wanted, &meant(wanted), facts) {
            Ok(nic) => match taken.insert(&nic.name, name) {
                Some(first) => refusals.push(refuse(
                    name,
                    &format!("`network.bridges.{first}` has {} already", named(nic)),
                    format!("a NIC stands on one bridge; {}", there_are(facts)),
                )),
                None => {
                    ports.insert(nic.mac.to_ascii_lowercase(), nic);
                    refusals.extend(unfit(name, nic, facts));
                }
            },
            Err((message, help)) => refusals.push(refuse(name, &message, help)),
        }
    }
    // A bridge has the address of its NIC: what is meant for the guest would go to the machine.
    for guest in host.guests() {
        for own in &guest.nics {
            let port = own.mac_address.and_then(|mac| ports.get(mac.as_str()));
            refusals.extend(port.map(|nic| {
                let key = format!("{}.{}mac_address", guest.place(), own.place);
                let message = format!("`{key}`: {} of the machine has it", named(nic));
                Refusal::machine(message, "leave it out: it is then derived from the name")
            }));
        }
    }
}

fn refuse(bridge: &str, message: &str, help: String) -> Refusal {
    Refusal::machine(format!("`network.bridges.{bridge}.nic`: {message}"), help)
}

/// The one NIC that is meant, or what stands against it.
fn one<'f>(
    wanted: &Nic,
    meant: &[&'f NicFacts],
    facts: &Facts,
) -> Result<&'f NicFacts, (String, String)> {
    match (meant, wanted) {
        ([nic], _) => Ok(nic),
        ([], Nic::Name(name)) if is_of_software(name) => {
            let message = format!("`{name}` is no NIC but made by software, and is not there");
            Err((message, format!("write the name of a NIC; {}", there_are(facts))))
        }
        ([], Nic::Name(name)) => {
            let help = format!(
                "{}; a NIC that was put into another slot has another name, and the same MAC: \
                 `nic = {{ mac = \"MAC\" }}`",
                there_are(facts)
            );
            Err((format!("there is no NIC `{name}` in this machine"), help))
        }
        ([], Nic::Mac(mac)) => {
            Err((format!("there is no NIC with the MAC {mac} in this machine"), there_are(facts)))
        }
        (several, Nic::Mac(mac)) => {
            let message = format!("{} NICs have the MAC {mac}", several.len());
            Err((message, format!("write the name of one; {}", there_are(facts))))
        }
        (several, Nic::Name(name)) => {
            let message = format!("{} NICs answer to the name `{name}`", several.len());
            Err((message, format!("write the MAC of one; {}", there_are(facts))))
        }
    }
}

/// NICs that are bound together: the owner's own configuration of NixOS makes them, and no inventory
/// of a medium has them.
fn is_made(nic: &Nic, host: &HostFile) -> bool {
    let is_bound = |name: &String| name.starts_with("bond") || name.starts_with("team");
    host.host.platform == Platform::Nixos && matches!(nic, Nic::Name(name) if is_bound(name))
}

/// The NICs by each of their names: networkd matches the other names of an interface, too.
fn called(facts: &Facts) -> BTreeMap<&str, Vec<&NicFacts>> {
    let mut called: BTreeMap<&str, Vec<&NicFacts>> = BTreeMap::new();
    for nic in &facts.nics {
        let names: BTreeSet<&String> = nic.other_names.iter().chain([&nic.name]).collect();
        names.into_iter().for_each(|name| called.entry(name).or_default().push(nic));
    }
    called
}

/// The NICs by their MAC.
fn addressed(facts: &Facts) -> BTreeMap<String, Vec<&NicFacts>> {
    let mut addressed: BTreeMap<String, Vec<&NicFacts>> = BTreeMap::new();
    for nic in &facts.nics {
        addressed.entry(nic.mac.to_ascii_lowercase()).or_default().push(nic);
    }
    addressed
}

/// A bridge takes frames of Ethernet, from any sender.
fn unfit(bridge: &str, nic: &NicFacts, facts: &Facts) -> Option<Refusal> {
    let is_wireless = match nic.kind.as_deref() {
        Some("ethernet") => return None,
        Some("wireless") => true,
        Some(other) => {
            let message =
                format!("{} is no Ethernet but {}, and cannot be a port", named(nic), shown(other));
            return Some(refuse(bridge, &message, format!("choose another; {}", there_are(facts))));
        }
        None => is_wireless_name(&nic.name),
    };
    is_wireless.then(|| {
        let message = format!("{} is a Wi-Fi card, which cannot be a port of a bridge", named(nic));
        refuse(bridge, &message, format!("{WIRED}; {}", there_are(facts)))
    })
}

fn named(nic: &NicFacts) -> String {
    format!("`{}`", shown(&nic.name))
}

/// The NICs of the machine by name, as much as the inventory says of each.
fn there_are(facts: &Facts) -> String {
    let mut nics: Vec<&NicFacts> = facts.nics.iter().collect();
    nics.sort_unstable_by_key(|nic| &nic.name);
    let told = |nic: &&NicFacts| {
        let driver = nic.driver.as_deref().map_or_else(|| "unknown driver".to_owned(), shown);
        let link = if nic.link { "link" } else { "no link" };
        format!("{} ({}, {driver}, {link})", shown(&nic.name), shown(&nic.mac))
    };
    let told: Vec<String> = nics.iter().map(told).collect();
    format!("there are: {}", listed(told.iter(), ", "))
}
