//! Fingerprints of the document's sections. They stand in the header of each volume, so that a
//! later run can tell in what its document differs from the one an installation was begun with.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use bedplate_model::host::HostFile;

/// Sections whose entries have names of their own.
const NAMED: [&str; 4] = ["disks", "pools", "vms", "backups"];
/// With more entries a section has one fingerprint: a LUKS2 header is small.
const MOST_ENTRIES: usize = 24;
/// Hexadecimal digits of a fingerprint: enough to see a difference, which is all they are for.
const DIGITS: usize = 8;
/// What the disks' policies are known by: they permit and make no other plan.
const WIPE: &str = "wipe";

/// The fingerprint of each section; `install.expect_plan` is in none.
pub fn of(host: &HostFile) -> BTreeMap<String, String> {
    let mut host = host.clone();
    host.install.expect_plan = None;
    // Serialising these types cannot fail: every map has string keys.
    let Ok(Value::Object(mut document)) = serde_json::to_value(&host) else {
        return BTreeMap::new();
    };
    let mut policies = BTreeMap::new();
    if let Some(Value::Object(disks)) = document.get_mut("disks") {
        for (role, disk) in disks {
            let policy = disk.as_object_mut().and_then(|disk| disk.remove(WIPE));
            policies.insert(role.clone(), policy);
        }
    }
    let mut sections = BTreeMap::from([(WIPE.to_owned(), fingerprint(&policies))]);
    for (name, section) in document {
        match section {
            Value::Object(entries)
                if NAMED.contains(&name.as_str()) && entries.len() <= MOST_ENTRIES =>
            {
                let named = entries
                    .iter()
                    .map(|(entry, value)| (format!("{name}.{entry}"), fingerprint(value)));
                sections.extend(named);
            }
            section => _ = sections.insert(name, fingerprint(&section)),
        }
    }
    sections
}

fn fingerprint(value: &impl serde::Serialize) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .chars()
        .take(DIGITS)
        .collect()
}

/// Names of the sections that differ, policies aside.
pub(super) fn differing(
    now: &BTreeMap<String, String>,
    then: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut names: Vec<&String> = now.keys().chain(then.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| *name != WIPE && now.get(*name) != then.get(*name))
        .map(|name| bedplate_events::shown::shown(name))
        .collect()
}
