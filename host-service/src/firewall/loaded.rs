//! Whether the kernel has the rules: they are loaded at boot, and another program may flush them.

use std::collections::BTreeSet;
use std::fs;

use bedplate_model::host::{Cidr, HostFile};
use bedplate_tools::{nft, programs, systemctl};
use serde_json::Value;

use super::{FILE, FILTER_PORTS, Rule, rule_list, rules};
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;

/// The unit that loads them.
const UNIT: &str = "bedplate-firewall.service";
/// The table that they are in.
const TABLE: (&str, &str) = ("inet", "bedplate");
/// In `status`.
const KIND: &str = "firewall";
const NAME: &str = "nfs";

/// What the kernel was found to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoadedRules {
    /// Its table; none when there is none.
    Table(Option<Value>),
    /// It could not be asked for want of `nft`: whether the unit that loads the rules ran.
    Unit(bool),
}

/// How the rules stand beside what host.toml wants. Nothing is said where nothing is exported: then
/// nothing is served either.
pub fn compared(context: &Context) -> Vec<Status> {
    if context.intent.nfs.exports.is_empty() {
        return Vec::new();
    }
    let found = match programs::find(nft::PROGRAM) {
        Some(_) => nft::table(TABLE.0, TABLE.1).map(LoadedRules::Table),
        None => systemctl::is_active(UNIT).map(LoadedRules::Unit),
    };
    vec![match found {
        Ok(found) => {
            let file = fs::read_to_string(context.configuration.join(FILE)).ok();
            judge(&context.intent, &found, file.as_deref())
        }
        Err(error) => Status::unseen(KIND, Some(NAME.to_owned()), in_line(&error)),
    }]
}

/// Compares the rules, and says what loads them: `file` is what the unit does.
pub(super) fn judge(host: &HostFile, found: &LoadedRules, file: Option<&str>) -> Status {
    let wrong = match found {
        LoadedRules::Table(None) => Some("the kernel has none of the rules"),
        LoadedRules::Table(Some(table)) if understood(table) != expected(host) => {
            Some("the kernel has other rules")
        }
        LoadedRules::Unit(false) => Some("the unit that loads the rules did not run"),
        LoadedRules::Table(Some(_)) | LoadedRules::Unit(true) => None,
    };
    // On NixOS the unit has them from the store, and there is no file.
    let next = match file.is_none_or(|file| file == rules(host)) {
        true => format!("`systemctl reload-or-restart {UNIT}` loads them"),
        false => format!(
            "/etc/{FILE} is of another host.toml: build the system anew and restart the machine"
        ),
    };
    let clients: BTreeSet<_> = host.nfs.exports.iter().flat_map(|one| &one.clients).collect();
    let clients: Vec<_> = clients.into_iter().map(Cidr::to_string).collect();
    Status {
        kind: KIND,
        name: Some(NAME.to_owned()),
        agrees: wrong.is_none(),
        intent: Some(format!("the ports of NFS are open for {} alone", clients.join(", "))),
        reality: Some(wrong.unwrap_or("the rules are loaded").to_owned()),
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants: wrong.map(|wrong| format!("{wrong}: {next}")).into_iter().collect(),
    }
}

/// A rule as it is compared; none for one that this program does not write.
type Understood = Option<Rule>;

/// The kernel keeps ports in their order.
fn expected(host: &HostFile) -> Option<Vec<Understood>> {
    let mut rules = rule_list(host);
    rules.iter_mut().filter_map(|rule| rule.ports.as_mut()).for_each(|(_, ports)| ports.sort());
    Some(rules.into_iter().map(Some).collect())
}

/// The rules of the chain, in order; none when it does not see what comes in.
fn understood(table: &Value) -> Option<Vec<Understood>> {
    let all = table["nftables"].as_array()?;
    let is_input = |one: &&Value| one["chain"]["hook"] == "input" && one["chain"]["prio"] == 0;
    let chain = &all.iter().find(is_input)?["chain"]["name"];
    let ours = all.iter().map(|one| &one["rule"]).filter(|rule| rule["chain"] == *chain);
    Some(ours.map(|rule| understood_rule(rule["expr"].as_array()?)).collect())
}

fn understood_rule(parts: &[Value]) -> Understood {
    let (verdict, matches) = parts.split_last()?;
    let accept = match verdict.as_object()?.keys().next()?.as_str() {
        "accept" => true,
        "drop" => false,
        _ => return None,
    };
    if matches.is_empty() {
        return None;
    }
    let mut rule = Rule { from: None, ports: None, accept };
    for part in matches {
        let (left, right) = (&part["match"]["left"], &part["match"]["right"]);
        let payload = &left["payload"];
        let (protocol, field) = (payload["protocol"].as_str(), payload["field"].as_str());
        match (part["match"]["op"].as_str()?, protocol, field) {
            ("==", None, None) if left["meta"]["key"] == "iifname" && right == "lo" => {}
            ("==", Some("ip" | "ip6"), Some("saddr")) => rule.from = Some(network(right)?),
            ("==", Some(protocol), Some("dport")) => {
                let protocol = FILTER_PORTS.into_iter().find(|one| *one == protocol)?;
                rule.ports = Some((protocol, ports(right)?));
            }
            _ => return None,
        }
    }
    Some(rule)
}

/// A network; a single address is written without its length.
fn network(value: &Value) -> Option<Cidr> {
    let (address, length) = match value.as_str() {
        Some(address) => (address, if address.contains(':') { 128 } else { 32 }),
        None => (value["prefix"]["addr"].as_str()?, value["prefix"]["len"].as_u64()?),
    };
    Cidr::try_from(format!("{address}/{length}")).ok()
}

/// A set; one of a single port is written as the port.
fn ports(value: &Value) -> Option<Vec<u16>> {
    let one = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value["set"].as_array() {
        Some(all) => {
            let mut ports = all.iter().map(one).collect::<Option<Vec<u16>>>()?;
            ports.sort_unstable();
            Some(ports)
        }
        None => one(value).map(|port| vec![port]),
    }
}
