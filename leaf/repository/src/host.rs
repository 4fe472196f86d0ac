//! One more host in a repository that is there.

use bedplate_model::host::{HostFile, Platform};
use bedplate_model::identity;

use crate::change::{Added, Change, Files, Left, Proposal};
use crate::document;
use crate::error::Error;
use crate::flake::{Flake, Layout, edit};
use crate::input::Input;
use crate::lock;
use crate::read::{RepositoryFacts, Vendored};
use crate::shipped::{self, BLUEPRINT, CONFIGURATION, DESCRIPTION, PLATFORM};

/// Names of a repository's own files.
pub(crate) const FLAKE_FILE: &str = "flake.nix";
pub(crate) const LOCK_FILE: &str = "flake.lock";

/// Locks a flake, run where it stands. What git does not know yet counts.
const NIX_LOCK: &str = "nix --extra-experimental-features 'nix-command flakes' flake lock path:.";

/// A host that is added to a repository, or begins one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewHost<'a> {
    /// The host's name.
    pub name: &'a str,
    /// The document it starts from, with an id of its own.
    pub document: &'a str,
    /// The description of a medium's platform, for one of the embedded platform.
    pub description: Option<&'a [u8]>,
    /// The platform, where it is to be another than the document's.
    pub platform: Option<Platform>,
    /// Where this project's flake is, for a host of NixOS.
    pub address: Option<&'a str>,
}

/// What adding the host comes to.
pub fn decide(facts: &RepositoryFacts, request: &NewHost<'_>) -> Result<Proposal, Error> {
    let (name, directory) = (request.name, facts.hosts.as_str());
    let (text, host) = document::fit(request, directory)?;
    let flake = Flake::parse(&facts.flake)?;
    let lacking = Input::lacking(&flake, host.host.platform, request.address)?;
    let layout = flake.layout();
    let listed = listed(&layout, directory)?;
    let resumed = flake.calls(name, directory);
    check(facts, &flake, &host, resumed)?;

    let (mut changes, mut left) = (Vec::new(), Vec::new());
    match host.host.platform {
        Platform::Embedded => vendor(facts, request.description, &mut changes, &mut left)?,
        Platform::Nixos => nothing_vendored(request)?,
    }
    if lacking.is_some() || !(listed || resumed) {
        match flake.with_host(name, directory, lacking.as_ref()) {
            Ok(edited) => changes.push(Change::Edit {
                path: FLAKE_FILE.to_owned(),
                before: facts.flake.clone(),
                after: edited.text,
                added: edited.added,
            }),
            Err(why) => left.push(Left::Lines {
                file: FLAKE_FILE.to_owned(),
                why: why.to_owned(),
                lines: edit::by_hand(name, directory, lacking.as_ref()),
            }),
        }
    }
    match host.host.platform {
        Platform::Embedded => complete_lock(facts, &mut changes, &mut left),
        Platform::Nixos => left.extend(unlocked(facts, lacking.is_some())),
    }
    // Last: where directories are listed, the host is there from this moment on.
    let blueprint = matches!(layout, Layout::Blueprint { .. });
    let path = format!("{directory}/{name}");
    changes.push(Change::Directory { path: path.clone(), files: files(text, blueprint) });
    let host = Added { name: name.to_owned(), id: host.host.id, directory: path };
    Ok(Proposal { host, changes, left })
}

/// Whether a host that stands in `asked` is found by its directory alone.
fn listed(layout: &Layout, asked: &str) -> Result<bool, Error> {
    match layout {
        Layout::Ours { directory } | Layout::Blueprint { directory } if directory != asked => {
            Err(Error::NotListed { listed: directory.clone(), asked: asked.to_owned() })
        }
        Layout::Ours { .. } | Layout::Blueprint { .. } => Ok(true),
        Layout::Written | Layout::Computed { .. } | Layout::Unknown { .. } => Ok(false),
    }
}

/// The files of a host. `hardware.json` is the installer's to write.
pub(crate) fn files(document: String, blueprint: bool) -> Files {
    let mut files = Files::new();
    files.insert("configuration.nix".to_owned(), CONFIGURATION.into());
    files.insert("host.toml".to_owned(), document.into_bytes());
    if blueprint {
        files.insert("default.nix".to_owned(), BLUEPRINT.into());
    }
    files
}

/// Whether the host has an id of its own.
pub(crate) fn check_id(host: &HostFile) -> Result<(), Error> {
    if identity::is_example(host.host.id) { Err(Error::Example) } else { Ok(()) }
}

fn check(
    facts: &RepositoryFacts,
    flake: &Flake,
    host: &HostFile,
    resumed: bool,
) -> Result<(), Error> {
    let name = &host.host.name;
    check_id(host)?;
    if facts.entries.contains(name) {
        return Err(Error::Occupied { path: format!("{}/{name}", facts.hosts) });
    }
    if let Some((other, id)) = facts.ids.iter().find(|(_, id)| **id == host.host.id) {
        return Err(Error::IdTaken { id: *id, other: other.clone() });
    }
    match flake.place_of(name) {
        Some((line, column)) if !resumed => {
            Err(Error::InFlake { line, column, name: name.clone() })
        }
        _ => Ok(()),
    }
}

/// The platform beside the flake.
fn vendor(
    facts: &RepositoryFacts,
    description: Option<&[u8]>,
    changes: &mut Vec<Change>,
    left: &mut Vec<Left>,
) -> Result<(), Error> {
    let file = format!("{PLATFORM}/{DESCRIPTION}");
    match (&facts.platform, description) {
        (Vendored::Foreign, _) => return Err(Error::Foreign { path: PLATFORM }),
        (Vendored::Absent, _) => {
            let files = shipped::platform(description);
            changes.push(Change::Directory { path: PLATFORM.to_owned(), files });
        }
        (Vendored::Ours { description: Some(found) }, Some(wanted)) if found != wanted => {
            left.push(Left::OtherMedium { file: file.clone() });
        }
        (Vendored::Ours { description: None }, Some(content)) => {
            changes.push(Change::File { path: file.clone(), content: content.to_vec() });
        }
        (Vendored::Ours { .. }, _) => {}
    }
    let known = matches!(&facts.platform, Vendored::Ours { description: Some(_) });
    if !known && description.is_none() {
        left.push(Left::Platform { file });
    }
    Ok(())
}

/// A host of NixOS takes nothing from a medium.
pub(crate) fn nothing_vendored(request: &NewHost<'_>) -> Result<(), Error> {
    if request.description.is_some() { Err(Error::Medium) } else { Ok(()) }
}

/// What a lock lacks for inputs that have a hash: only Nix, which fetches them, knows it.
pub(crate) fn left_to_nix(why: &str) -> Left {
    Left::Lock { why: why.to_owned(), command: NIX_LOCK.to_owned() }
}

fn unlocked(facts: &RepositoryFacts, added: bool) -> Option<Left> {
    let added = added.then(|| left_to_nix("an input was added, and its hash comes with it"));
    if facts.lock.is_none() { Some(left_to_nix("there is none")) } else { added }
}

/// Locks the input where that needs no hash; otherwise it is left to Nix.
fn complete_lock(facts: &RepositoryFacts, changes: &mut Vec<Change>, left: &mut Vec<Left>) {
    let by_hand = left.iter().any(|left| matches!(left, Left::Lines { .. }));
    let locked = match &facts.lock {
        _ if by_hand => Err("flake.nix comes first"),
        None => Err("there is none"),
        Some(text) => lock::with_platform(text).map(|after| after.map(|after| (text, after))),
    };
    match locked {
        Ok(None) => {}
        Ok(Some((before, after))) => changes.push(Change::Edit {
            path: LOCK_FILE.to_owned(),
            before: before.clone(),
            after,
            added: vec![format!("the input {PLATFORM}, a path without a hash")],
        }),
        Err(why) => {
            left.push(left_to_nix(why));
        }
    }
}
