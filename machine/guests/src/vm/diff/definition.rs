//! Whether the definition that libvirt holds stays, is replaced, or must not be touched.

use std::path::Path;

use super::super::compare;
use super::super::domain;
use super::super::model::Model;
use super::super::observe::{DomainFound, FilesFound};
use super::Action;

/// What becomes of the definition that libvirt holds.
pub(super) enum Definition {
    /// It stays, and its disk is as host.toml says; what a person has to see to in it.
    Stays(Option<String>),
    /// It stays, and its disk is not touched.
    InDoubt(String),
    /// It is replaced.
    Becomes(Action),
    /// It is not as intended, and must not be replaced.
    Kept(String),
}

/// Decides it.
pub(super) fn definition(
    name: &str,
    domain: Option<&DomainFound>,
    files: &FilesFound,
    disk: &Path,
    wanted: &domain::Definition,
) -> Definition {
    let other_disk = domain.and_then(|domain| compare::other_disk(name, domain, disk));
    let without_key = || files.without_key.then(|| without_key(name));
    let held = domain.and_then(|domain| domain.held.as_ref());
    let changes = held.zip(Model::parse(&wanted.xml).ok());
    let changes = changes.map(|(held, wanted)| compare::changes(held, &wanted)).unwrap_or_default();
    if domain.and_then(|domain| domain.intent.as_ref()) != Some(&wanted.intent) {
        return other_disk.or_else(without_key).map_or_else(
            || {
                let machine = held.and_then(compare::kept_machine).map(str::to_owned);
                let (vm, intent) = (name.to_owned(), wanted.intent.clone());
                Definition::Becomes(Action::Define {
                    vm,
                    intent,
                    machine,
                    changes: changes.lines(),
                })
            },
            Definition::Kept,
        );
    }
    let by_hand = || {
        let lines = changes.lines().join("; ");
        (!lines.is_empty()).then(|| {
            format!(
                "changed by hand: `bedplate-host vm redefine {name}` makes it as host.toml says \
                 ({lines}); or write into host.toml what is to stay"
            )
        })
    };
    match other_disk {
        Some(why) => Definition::InDoubt(why),
        None => Definition::Stays(without_key().or_else(by_hand)),
    }
}

fn without_key(name: &str) -> String {
    format!(
        "the variables of its firmware carry no keys: Secure Boot would be on in host.toml alone, and \
         anything would start; turn it off and `bedplate-host vm redefine {name} --new-variables` \
         gives it new ones with keys (what it boots from and what its firmware was told is lost with \
         the old ones, which are kept in its directory), or write `firmware = \"uefi\"`"
    )
}
