//! Whether `host.toml` takes what comes out.

use std::collections::{BTreeMap, BTreeSet};

use bedplate_document as document;
use bedplate_document::keys;
use toml_edit::Value;

use crate::draft::Draft;
use crate::note::{Imported, Notes, Place};

/// A document without pools, bridges and machines, in which only those can be wrong.
const FRESH: &str = "schema = 1\n[host]\nid = \"3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21\"\n\
    name = \"fresh\"\nplatform = \"embedded\"\nstate_version = \"26.05\"\n\
    [unlock]\nsticks = [{ volume_id = \"1A2B-3C4D\" }]\n";
/// Disks for it.
const DISKS: &str = "[disks.os]\nid = \"nvme-Fresh_1\"\n[disks.fresh2]\nid = \"ata-Fresh_2\"\n\
    [disks.fresh3]\nid = \"ata-Fresh_3\"\n[os]\ndisk = \"os\"\n";

/// What the sections are to be put into.
#[derive(Debug, Clone, Copy, Default)]
pub enum Base<'a> {
    /// A `host.toml` with what a machine has that says nothing: the pool `vmstore` at `/mnt/vmstore`
    /// and the bridge `br0`.
    #[default]
    Fresh,
    /// The text of this one.
    Own(&'a str),
}

impl Base<'_> {
    /// The pools by their mounts, as far as they can be known.
    pub(crate) fn pools(&self) -> BTreeMap<String, String> {
        let usual = || BTreeMap::from([("/mnt/vmstore".to_owned(), "vmstore".to_owned())]);
        let Self::Own(text) = self else { return usual() };
        let Ok(host) = document::parse(text, "host.toml") else { return usual() };
        host.pools.iter().map(|(name, pool)| (pool.mount.clone(), name.to_string())).collect()
    }
}

/// What machines name that stands in other sections.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Mounts of pools by name, where they are known.
    pub(crate) pools: BTreeMap<String, String>,
}

/// The sections of all machines, with a note for whatever `host.toml` does not take.
pub(crate) fn machines(
    drafts: Vec<Draft>,
    wanted: &Wanted,
    base: Base<'_>,
    mut notes: Notes,
) -> Imported {
    let mut kept: Vec<Draft> = Vec::new();
    let mut names = BTreeSet::new();
    for draft in drafts {
        notes.source.clone_from(&draft.source);
        if names.insert(draft.name.clone()) {
            kept.push(draft);
        } else {
            let message = "there is a machine of this name already; left out";
            notes.open(draft.place, &draft.about("name"), message);
        }
    }
    let text: String = kept.iter().map(Draft::text).collect();
    let whole = match base {
        Base::Own(own) => format!("{own}\n{text}"),
        Base::Fresh => format!("{FRESH}{DISKS}{}{text}", fresh(&text, wanted)),
    };
    for (key, message) in problems(&whole) {
        let of = key.strip_prefix("vms.").unwrap_or(&key);
        let draft =
            kept.iter().filter(|draft| within(of, &draft.name)).max_by_key(|d| d.name.len());
        if notes.knows(of) {
            continue;
        }
        let place = draft.map_or(Place { line: 1, column: 1 }, |draft| draft.place);
        notes.source = draft.and_then(|draft| draft.source.clone());
        notes.open(place, of, format!("`bedplate check` refuses it: {message}"));
    }
    if let (Base::Fresh, false) = (base, text.is_empty()) {
        elsewhere(&kept, &text, wanted, &mut notes);
    }
    Imported { text, notes: notes.done() }
}

/// Whether a key is that of a machine, or stands in it.
fn within(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What is wrong in a document, each with its key.
pub(crate) fn problems(text: &str) -> Vec<(String, String)> {
    let Err(problems) = document::parse(text, "host.toml") else { return Vec::new() };
    let whole = "host.toml";
    let key = |key: &str| if key.is_empty() { whole.to_owned() } else { key.to_owned() };
    let mut all: Vec<_> = problems
        .iter()
        .map(|problem| (key(&problem.key), format!("{}; {}", problem.message, problem.help)))
        .collect();
    if problems.more() > 0 {
        all.push((key(""), format!("and {} problems more", problems.more())));
    }
    all
}

/// The document with sections of another kind than machines.
pub(crate) fn with_disks(text: &str) -> Vec<(String, String)> {
    problems(&format!("{FRESH}{text}"))
}

/// What the machines name in other sections: keys of lines are those of the text itself.
fn named(text: &str, key: &str) -> BTreeSet<String> {
    let Ok(document) = text.parse::<toml_edit::DocumentMut>() else { return BTreeSet::new() };
    let machines = document.get("vms").and_then(|vms| vms.as_table_like());
    let mut found = BTreeSet::new();
    for (_, machine) in machines.into_iter().flat_map(|machines| machines.iter()) {
        let of =
            |item: Option<&toml_edit::Item>| item.and_then(|item| item.as_str().map(str::to_owned));
        found.extend(of(machine.get(key)));
        let nics = machine.get("nics").and_then(|nics| nics.as_array_of_tables());
        found.extend(nics.into_iter().flatten().filter_map(|nic| of(nic.get(key))));
    }
    found
}

/// What a key means where it is left out.
fn usual(key: &str) -> Option<&'static str> {
    match keys::key_at("vms.<name>", key)?.absent {
        keys::Absent::Default(keys::Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// The pools and bridges that the machines name, and those that they have when they name none.
fn fresh(text: &str, wanted: &Wanted) -> String {
    let mut sections = String::new();
    let names = |key| named(text, key).into_iter().chain(usual(key).map(str::to_owned));
    for (index, pool) in names("pool").collect::<BTreeSet<_>>().iter().enumerate() {
        let mount = wanted.pools.get(pool).cloned().unwrap_or_else(|| format!("/mnt/{pool}"));
        let members = if index == 0 {
            "disks = [\"fresh2\", \"fresh3\"]".to_owned()
        } else {
            sections = format!(
                "[disks.p{index}a]\nid = \"ata-Fresh_{index}a\"\n\
                 [disks.p{index}b]\nid = \"ata-Fresh_{index}b\"\n{sections}"
            );
            format!("disks = [\"p{index}a\", \"p{index}b\"]")
        };
        sections += &format!("[pools.{pool}]\nmount = {}\n{members}\n", Value::from(mount));
    }
    for (index, bridge) in names("bridge").collect::<BTreeSet<_>>().iter().enumerate() {
        let name = toml_edit::Key::new(bridge.as_str());
        sections += &format!("[network.bridges.{name}]\nnic = \"fresh{index}\"\n");
    }
    sections
}

/// Pools and bridges that `host.toml` has to have, which are not those of every machine.
fn elsewhere(drafts: &[Draft], text: &str, wanted: &Wanted, notes: &mut Notes) {
    let Some(first) = drafts.first() else { return };
    notes.source.clone_from(&first.source);
    for (key, section) in [("pool", "pools"), ("bridge", "network.bridges")] {
        for name in named(text, key).iter().filter(|name| usual(key) != Some(name)) {
            let mount = wanted.pools.get(name).filter(|_| key == "pool");
            let mount =
                mount.map(|mount| format!(" with `mount = {}`", Value::from(mount.as_str())));
            let message = format!(
                "host.toml must have `[{section}.{name}]`{}, which machines name; `--host FILE` looks \
                 whether yours does",
                mount.unwrap_or_default()
            );
            notes.open(first.place, &format!("{section}.{name}"), message);
        }
    }
}
