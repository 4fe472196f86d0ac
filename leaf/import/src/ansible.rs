//! The list `libvirt_vms` of an Ansible role that provisions machines with libvirt.
//!
//! Its keys are those of `host.toml`, which took its names from there. Jinja is not evaluated:
//! what a template would give is only known to Ansible.

use std::collections::BTreeMap;

use bedplate_yaml::{Content, Node};

use crate::check::{self, Base, Wanted};
use crate::draft::Draft;
use crate::machine;
use crate::note::{Imported, Notes, quote};
use crate::scalar;
use crate::{ImportError, tree};

/// The list.
const LIST: &str = "libvirt_vms";
/// Where the files of all machines lie, in the role's defaults.
const ROOT: &str = "/mnt/vmstore";
/// Bridge of machines that name none, in the role's defaults.
const BRIDGE: &str = "br0";

/// Defaults of the whole list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    /// Where the files of all machines lie.
    pub(crate) root: String,
    /// The pool that is mounted there, where that is known.
    pub(crate) pool: Option<String>,
    /// Bridge of machines that name none.
    pub(crate) bridge: String,
}

/// Turns Ansible's variables, or a playbook with them, into sections of `host.toml`.
pub fn import(variables: &str, base: Base<'_>) -> Result<Imported, ImportError> {
    if variables.trim_start_matches('\u{feff}').trim_start().starts_with("$ANSIBLE_VAULT") {
        return Err(vault());
    }
    let root = tree(variables)?;
    if scalar::is_vault(&root) {
        return Err(vault());
    }
    let mut places = Vec::new();
    find(&root, &mut places);
    if places.is_empty() {
        return Err(nowhere(&root));
    }
    let (mut notes, mut wanted, mut drafts) = (Notes::default(), Wanted::default(), Vec::new());
    let pools = base.pools();
    for place in places {
        list(place, &pools, &mut wanted, &mut drafts, &mut notes)?;
    }
    Ok(check::machines(drafts, &wanted, base, notes))
}

/// Ansible Vault has encrypted all of it; it is not decrypted here.
fn vault() -> ImportError {
    ImportError::whole("the file is a vault; give the output of `ansible-vault view`")
}

/// Every map with the list: that of the variables, those of plays, of hosts in an inventory, of roles.
fn find<'n>(node: &'n Node, places: &mut Vec<&'n Node>) {
    if node.get(LIST).is_some() {
        places.push(node);
        return;
    }
    node.items().iter().for_each(|item| find(item, places));
    node.entries().iter().for_each(|(_, value)| find(value, places));
}

fn list(
    place: &Node,
    pools: &BTreeMap<String, String>,
    wanted: &mut Wanted,
    drafts: &mut Vec<Draft>,
    notes: &mut Notes,
) -> Result<(), ImportError> {
    let Some(node) = place.get(LIST) else { return Ok(()) };
    let machines = match &node.content {
        Content::List(machines) => machines,
        Content::Map(_) => {
            let what = format!(
                "`{LIST}` is a map, and a list is wanted: write each machine as `- name: web` with its keys below"
            );
            return Err(ImportError::at(node, what));
        }
        _ if scalar::is_vault(node) => {
            let what = format!("`{LIST}` is a vault; write what `ansible-vault view` shows");
            return Err(ImportError::at(node, what));
        }
        _ if node.text().is_some_and(scalar::is_template) => {
            let text = quote(node.text().unwrap_or_default());
            let what = format!(
                "`{LIST}` is the template {text}, which only Ansible can evaluate; write the list that it stands for"
            );
            return Err(ImportError::at(node, what));
        }
        _ => {
            return Err(ImportError::at(node, format!("`{LIST}` is {}, and no list", node.kind())));
        }
    };
    let mut role = role(place, notes);
    role.pool = pools.get(&role.root).cloned();
    if let Some(pool) = role.root.rsplit('/').next() {
        wanted.pools.insert(pool.to_owned(), role.root.clone());
    }
    drafts.extend(machines.iter().filter_map(|entry| machine::draft(entry, &role, notes)));
    Ok(())
}

/// What the file has in the place of the list.
fn nowhere(root: &Node) -> ImportError {
    let mut likely = None;
    likely_list(root, &mut likely);
    let what = format!("there is no list `{LIST}` in it");
    let (at, more) = match likely {
        Some((key, Likely::Machines)) => {
            let name = quote(key.text().unwrap_or_default());
            (
                key,
                format!(
                    "; {name} looks like one of machines: call it `{LIST}`, and its keys as host.toml does"
                ),
            )
        }
        Some((key, Likely::Files)) => {
            let name = quote(key.text().unwrap_or_default());
            (key, format!("; {name} names other files: give the one with the list"))
        }
        None => (root, String::new()),
    };
    ImportError::at(at, what + &more)
}

enum Likely {
    Machines,
    Files,
}

fn likely_list<'n>(node: &'n Node, found: &mut Option<(&'n Node, Likely)>) {
    for (key, value) in node.entries() {
        let is_list = value.items().iter().any(|item| {
            item.get("name").is_some()
                && ["vcpu", "vcpus", "memory", "ram_mb", "memory_mb", "disk_image"]
                    .iter()
                    .any(|key| item.get(key).is_some())
        });
        let names = key.text().is_some_and(|key| {
            matches!(
                key,
                "vars_files"
                    | "import_playbook"
                    | "include_vars"
                    | "ansible.builtin.import_playbook"
                    | "ansible.builtin.include_vars"
            )
        });
        if found.is_none() && is_list {
            *found = Some((key, Likely::Machines));
        } else if found.is_none() && names {
            *found = Some((key, Likely::Files));
        }
        likely_list(value, found);
    }
    node.items().iter().for_each(|item| likely_list(item, found));
}

/// The variables beside the list.
fn role(place: &Node, notes: &mut Notes) -> Role {
    let mut role = Role { root: ROOT.to_owned(), pool: None, bridge: BRIDGE.to_owned() };
    for (key, value) in place.entries() {
        let name = key.text().unwrap_or_default();
        match name {
            LIST => {}
            _ if value.is_null() => {}
            "libvirt_vmstore_root" => {
                if let Some(text) = scalar::text(value, name, notes) {
                    role.root = text.trim_end_matches('/').to_owned();
                }
            }
            "libvirt_default_bridge" => {
                if let Some(text) = scalar::text(value, name, notes) {
                    role.bridge = text.to_owned();
                }
            }
            "libvirt_uri" if value.text() == Some("qemu:///system") => {}
            _ => notes.tell(key, name, "not a variable of machines; left out"),
        }
    }
    role
}
