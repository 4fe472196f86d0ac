//! Services as Docker Compose describes them (<https://docs.docker.com/reference/compose-file/>).
//!
//! `host.toml` has virtual machines and no containers: nothing of it can be carried over. What a
//! machine for them needs is told service by service, so that nobody has to look it up.

use bedplate_yaml::{Content, Node};

use crate::note::{Imported, Notes, quote};
use crate::scalar;
use crate::{ImportError, tree};

/// Reads a file of services: what comes out are notes alone.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let root = tree(text)?;
    let Some(services) = root.get("services") else {
        let old = root.entries().iter().any(|(_, service)| service.get("image").is_some());
        let what = match old {
            true => {
                "there is no `services` in it: this is the form of before version 2; put all below `services:`"
            }
            false => "there is no `services` in it, as a compose file has it",
        };
        return Err(ImportError::at(&root, what));
    };
    if !matches!(services.content, Content::Map(_)) {
        return Err(ImportError::at(
            services,
            format!("`services` is {}, and no map", services.kind()),
        ));
    }
    let mut notes = Notes::default();
    for (key, service) in services.entries() {
        self::service(key, service, &mut notes);
    }
    for (key, value) in root.entries() {
        top(key, value, &mut notes);
    }
    if !services.entries().is_empty() {
        let message = "host.toml has virtual machines and no containers: make one that runs these, from a \
                       cloud image with `packages = [\"docker.io\", \"docker-compose\"]` in `[vms.NAME.cloud_init]` \
                       and this file in it; what it mounts goes there, or onto an export of `[[nfs.exports]]`";
        notes.open(services, "services", message);
    }
    Ok(Imported { text: String::new(), notes: notes.done() })
}

/// What else stands at the top.
fn top(key: &Node, value: &Node, notes: &mut Notes) {
    let name = key.text().unwrap_or_default();
    let is_known = matches!(name, "services" | "version" | "name") || name.starts_with("x-");
    if is_known || value.is_null() {
        return;
    }
    let names: Vec<&str> = value.entries().iter().filter_map(|(key, _)| key.text()).collect();
    let message = match name {
        "include" => "it includes other files, which are not read".to_owned(),
        "volumes" => format!(
            "Docker keeps these on its own disk: {}; their content has to be copied",
            few(&names)
        ),
        "secrets" | "configs" => {
            format!("{} are files beside this one: they go where the services go", few(&names))
        }
        "networks" => {
            format!("{} are networks of Docker; in a machine they stay what they are", few(&names))
        }
        other => format!("{} is left out", quote(other)),
    };
    notes.tell(key, name, message);
}

/// One note says of a service what it is and what it needs of the host; a note each says what a machine
/// would not have by itself.
fn service(key: &Node, service: &Node, notes: &mut Notes) {
    let name = key.text().unwrap_or_default();
    let about = format!("services.{name}");
    if !matches!(service.content, Content::Map(_)) {
        return notes.open(
            key,
            &about,
            format!("left out: this is {}, and no map", service.kind()),
        );
    }
    let get = |key: &str| service.get(key).filter(|node| !node.is_null());
    let what = match (get("image").and_then(Node::text), get("build")) {
        (Some(image), _) => format!("a container of {}", quote(image)),
        (None, Some(_)) => "a container that is built from files beside this one".to_owned(),
        (None, None) => "a container of nobody knows what".to_owned(),
    };
    let mut needs = Vec::new();
    for (key, what) in
        [("ports", "is reached at"), ("volumes", "keeps"), ("depends_on", "starts after")]
    {
        let values = get(key).map(values).unwrap_or_default();
        if !values.is_empty() {
            needs.push(format!("{what} {}", few(&values)));
        }
    }
    let needs = if needs.is_empty() { String::new() } else { format!("; it {}", needs.join(", ")) };
    notes.open(key, &about, format!("{what}; host.toml has no containers; left out{needs}"));
    for (key, value) in service.entries() {
        let key_name = key.text().unwrap_or_default();
        if let Some(message) = of_the_host(key_name, value) {
            notes.open(key, &format!("{about}.{key_name}"), message);
        }
    }
}

/// What a service has of the host that a machine of `host.toml` does not have by itself.
fn of_the_host(key: &str, value: &Node) -> Option<String> {
    let is_on = value.text().and_then(scalar::switch) == Some(true);
    Some(match key {
        "devices" => format!(
            "devices of the host: {}; a machine gets those on USB by `usb_devices`, and no other",
            few(&values(value))
        ),
        "network_mode" if value.text() == Some("host") => {
            "it is on the host's own network; a machine has its own address on a bridge".to_owned()
        }
        "privileged" if is_on => {
            "it may do everything on the host, and in a machine everything in that".to_owned()
        }
        "gpus" | "runtime" => "a graphics card is not handed through to machines".to_owned(),
        "extends" => "it extends another service, which is not looked at".to_owned(),
        "env_file" => {
            "its variables are in files beside this one: they go where it goes".to_owned()
        }
        "mac_address" => {
            "the address goes to the machine that runs it (`mac_address`), where others rely on it"
                .to_owned()
        }
        _ => return None,
    })
}

/// What a list or a map names, without what may be secret: sources of volumes, ports, names.
fn values(node: &Node) -> Vec<&str> {
    const NAMES: [&str; 3] = ["source", "target", "published"];
    let items = node.items().iter().filter_map(|item| match &item.content {
        Content::Map(_) => NAMES.iter().find_map(|key| item.get(key).and_then(Node::text)),
        _ => item.text(),
    });
    let names = node.entries().iter().filter_map(|(key, _)| key.text());
    items.chain(names).collect()
}

/// The first of them, and how many more.
fn few(values: &[&str]) -> String {
    const MOST: usize = 8;
    let shown: Vec<String> = values.iter().take(MOST).map(|value| quote(value)).collect();
    let more = values.len().saturating_sub(MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}
