//! One more host in a repository that is there.

use bedplate_model::host::{HostFile, Platform};
use bedplate_model::identity;

use crate::change::{Added, Change, Files, Left, Proposal};
use crate::document;
use crate::error::Error;
use crate::flake::edit::Edited;
use crate::flake::frameworks::{Framework, UNPLACED};
use crate::flake::hosts::{Hosts, Place};
use crate::flake::{Flake, listers};
use crate::input::Input;
use crate::lock;
use crate::offer;
use crate::place;
use crate::read::{RepositoryFacts, Vendored};
use crate::shipped::{self, BLUEPRINT, BUILT, CONFIGURATION, DESCRIPTION, PLATFORM};

/// Names of a repository's own files.
pub(crate) const FLAKE_FILE: &str = crate::flake::FILE;
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
    let listed = listed(&facts.found, directory)?;
    let resumed = flake.calls(name, directory);
    check(facts, &host, resumed)?;
    if !resumed {
        certain(facts, &flake, name, lacking.as_ref())?;
    }

    let (mut changes, mut left) = (Vec::new(), Vec::new());
    match host.host.platform {
        Platform::Embedded => vendor(facts, request.description, &mut changes, &mut left)?,
        Platform::Nixos => nothing_vendored(request)?,
    }
    let (more, by_hand) = flake_change(facts, &flake, name, lacking.as_ref(), listed, resumed);
    changes.extend(more);
    left.extend(by_hand);
    match host.host.platform {
        Platform::Embedded => complete_lock(facts, &mut changes, &mut left),
        Platform::Nixos => {
            left.extend(unlocked(facts, lacking.is_some()));
            left.extend(offer::of(facts, &flake, name, listed).filter(|_| !resumed));
        }
    }
    left.extend(seen(facts));
    // Last: where directories are listed, the host is there from this moment on.
    let path = format!("{directory}/{name}");
    let more = called_by(&facts.found);
    changes.push(Change::Directory { path: path.clone(), files: files(text, more) });
    let host = Added { name: name.to_owned(), id: host.host.id, directory: path };
    Ok(Proposal { host, changes, left })
}

/// What is added to `flake.nix`, or what its owner has to add.
fn flake_change(
    facts: &RepositoryFacts,
    flake: &Flake,
    name: &str,
    lacking: Option<&Input>,
    listed: bool,
    resumed: bool,
) -> (Option<Change>, Option<Left>) {
    let (directory, sources, found) = (&facts.hosts, &facts.sources, &facts.found);
    let edited = match lacking {
        // The host stands there from a run that was cut off, or was written by its owner.
        Some(input) if resumed => flake.with_input(input),
        None if resumed || listed => return (None, None),
        lacking => flake.with_host_among(name, directory, lacking, sources, found),
    };
    match edited {
        Ok(edited) => (Some(edit(facts, edited)), None),
        Err(why) => {
            let lines = flake.by_hand(name, directory, lacking, found);
            (None, Some(Left::Lines { file: FLAKE_FILE.to_owned(), why, lines }))
        }
    }
}

/// The change of `flake.nix`.
pub(crate) fn edit(facts: &RepositoryFacts, edited: Edited) -> Change {
    Change::Edit {
        path: FLAKE_FILE.to_owned(),
        before: facts.flake.clone(),
        after: edited.text,
        added: edited.added,
    }
}

/// Whether a host that stands in `asked` is found by its directory alone.
fn listed(found: &Hosts, asked: &str) -> Result<bool, Error> {
    for framework in &found.frameworks {
        match framework {
            Framework::Builders { directory: Some(listed), .. } if listed != asked => {
                return Err(Error::NotListed { listed: listed.clone(), asked: asked.to_owned() });
            }
            Framework::Lister { name, directory }
                if directory == asked
                    || asked.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')) =>
            {
                return Err(Error::Taken { framework: name, directory: directory.clone() });
            }
            _ => {}
        }
    }
    match &found.lister {
        Some(directory) if directory != asked => {
            Err(Error::NotListed { listed: directory.clone(), asked: asked.to_owned() })
        }
        lister => Ok(lister.is_some()),
    }
}

/// What stands beside `configuration.nix` for the framework at hand.
fn called_by(found: &Hosts) -> Option<&'static str> {
    found.frameworks.iter().find_map(|framework| match framework {
        Framework::Blueprint { directory } if found.lister.as_ref() == Some(directory) => {
            Some(BLUEPRINT)
        }
        Framework::Builders { directory: Some(_), .. } => Some(BUILT),
        _ => None,
    })
}

/// Who else lists the directory of hosts.
fn seen(facts: &RepositoryFacts) -> Vec<Left> {
    let directory = &facts.hosts;
    let known = facts.found.listings.iter().filter(|(_, listed)| listed == directory);
    let mut places: Vec<Place> = known.map(|(place, _)| place.clone()).collect();
    for place in listers::of(&facts.sources, directory) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let place =
        |place: Place| Left::Seen { directory: directory.clone(), place: place.to_string() };
    places.into_iter().map(place).collect()
}

/// The files of a host. `hardware.json` is the installer's to write.
pub(crate) fn files(document: String, default: Option<&str>) -> Files {
    let mut files = Files::new();
    files.insert("configuration.nix".to_owned(), CONFIGURATION.into());
    files.insert("host.toml".to_owned(), document.into_bytes());
    if let Some(default) = default {
        files.insert("default.nix".to_owned(), default.into());
    }
    files
}

/// Whether the host has an id of its own.
pub(crate) fn check_id(host: &HostFile) -> Result<(), Error> {
    if identity::is_example(host.host.id) { Err(Error::Example) } else { Ok(()) }
}

fn check(facts: &RepositoryFacts, host: &HostFile, resumed: bool) -> Result<(), Error> {
    let name = &host.host.name;
    check_id(host)?;
    let path = format!("{}/{name}", facts.hosts);
    let adopted = || match facts.adoptable(name) {
        true => format!(", or let it have a host.toml: `bedplate host add {name} --adopt`"),
        false => String::new(),
    };
    if let Some(place) = facts.found.place_of(name)
        && !resumed
    {
        return Err(Error::InFlake { place, name: name.clone(), help: adopted() });
    }
    if facts.entries.contains(name) {
        let help = match facts.ids.contains_key(name) {
            true => format!(", or edit {path}/host.toml"),
            false => adopted(),
        };
        return Err(Error::Occupied { path, help });
    }
    if facts.entries.contains(&format!("{name}.nix")) {
        let (path, help) = (format!("{path}.nix"), String::new());
        return Err(Error::Occupied { path, help });
    }
    let elsewhere = || {
        let listed = facts.found.known.get(name).and_then(|known| known.listed.as_ref());
        let listed = listed.map(|directory| format!("{directory}/{name}"));
        place::elsewhere(&facts.sources, &facts.hosts, name).or(listed)
    };
    if let Some(path) = elsewhere().filter(|_| !resumed) {
        return Err(Error::Occupied { path, help: String::new() });
    }
    if let Some((other, id)) = facts.ids.iter().find(|(_, id)| **id == host.host.id) {
        return Err(Error::IdTaken { id: *id, other: other.clone() });
    }
    Ok(())
}

/// Whether every host of the flake is known.
fn certain(
    facts: &RepositoryFacts,
    flake: &Flake,
    name: &str,
    lacking: Option<&Input>,
) -> Result<(), Error> {
    let Some(doubt) = facts.found.doubts.first() else { return Ok(()) };
    if let Some(doubt) = facts.found.doubts.iter().find(|one| UNPLACED.contains(&one.why.as_str()))
    {
        return Err(Error::Unplaced { place: doubt.place.clone(), why: doubt.why.clone() });
    }
    let lines = flake.by_hand(name, &facts.hosts, lacking, &facts.found);
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
    Err(Error::Unknowable {
        place: doubt.place.clone(),
        name: name.to_owned(),
        why: doubt.why.clone(),
        lines: lines.join("\n"),
    })
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

pub(crate) fn unlocked(facts: &RepositoryFacts, added: bool) -> Option<Left> {
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
