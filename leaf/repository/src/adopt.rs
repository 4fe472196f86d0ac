//! A host of NixOS that is there is given a document: `host.toml` goes beside its configuration, and
//! the lines that take the module in are its owner's to add.

use bedplate_model::host::Platform;

use crate::change::{Added, Change, Left, Proposal};
use crate::document;
use crate::error::Error;
use crate::flake::Flake;
use crate::flake::sources::split;
use crate::host::{self, FLAKE_FILE, NewHost};
use crate::input::{Input, InputState};
use crate::place;
use crate::read::RepositoryFacts;
use crate::shipped::PLATFORM;

/// What stands for an address that nobody has said.
const SOMEWHERE: &str = "git+https://…";

/// What taking the host over comes to.
pub fn decide(facts: &RepositoryFacts, request: &NewHost<'_>) -> Result<Proposal, Error> {
    if request.platform == Some(Platform::Embedded) {
        return Err(Error::AdoptEmbedded);
    }
    host::nothing_vendored(request)?;
    let request = NewHost { platform: Some(Platform::Nixos), ..*request };
    let hosts = directory(facts, request.name);
    let path = format!("{hosts}/{}", request.name);
    let (text, found) = document::fit(&request, &hosts)?;
    host::check_id(&found)?;
    let names = match facts.sources.directories.get(&path) {
        Some(Some(names)) => names,
        _ => return Err(Error::NothingToAdopt { path }),
    };
    if names.contains_key("host.toml") {
        return Err(Error::Adopted { path });
    }
    if let Some((other, id)) = facts.ids.iter().find(|(_, id)| **id == found.host.id) {
        return Err(Error::IdTaken { id: *id, other: other.clone() });
    }

    let (mut changes, mut left) = (Vec::new(), Vec::new());
    let flake = Flake::parse(&facts.flake)?;
    input(facts, &flake, &request, &mut changes, &mut left)?;
    let own = ["configuration.nix", "default.nix"].into_iter().find(|own| names.contains_key(*own));
    let file = format!("{path}/{}", own.unwrap_or("configuration.nix"));
    left.push(Left::Lines { file, why: "what it says is its owner's".to_owned(), lines: lines() });
    left.extend(host::unlocked(facts, !changes.is_empty()));
    let content = text.into_bytes();
    changes.push(Change::File { path: format!("{path}/host.toml"), content });
    let host = Added { name: request.name.to_owned(), id: found.host.id, directory: path };
    Ok(Proposal { host, changes, left })
}

/// The directory that the host stands in: that of hosts, or where it was listed or found.
fn directory(facts: &RepositoryFacts, name: &str) -> String {
    if facts.entries.contains(name) {
        return facts.hosts.clone();
    }
    let listed = facts.found.known.get(name).and_then(|known| known.listed.clone());
    let elsewhere = || {
        let path = place::elsewhere(&facts.sources, &facts.hosts, name)?;
        Some(split(&path).0.to_owned())
    };
    listed.or_else(elsewhere).unwrap_or_else(|| facts.hosts.clone())
}

/// The input that the host's module comes from.
fn input(
    facts: &RepositoryFacts,
    flake: &Flake,
    request: &NewHost<'_>,
    changes: &mut Vec<Change>,
    left: &mut Vec<Left>,
) -> Result<(), Error> {
    let by_hand = |input: &Input, why: String| Left::Lines {
        file: FLAKE_FILE.to_owned(),
        why,
        lines: input.lines().iter().map(|line| format!("inputs.{line}")).collect(),
    };
    if request.address.is_none() && flake.input() == InputState::Absent {
        let (address, follows) = (SOMEWHERE.to_owned(), flake.has_nixpkgs());
        let why = format!("where Bedplate's own flake is was not said (--bedplate {SOMEWHERE})");
        left.push(by_hand(&Input::Flake { address, follows }, why));
        return Ok(());
    }
    if let Some(lacking) = Input::lacking(flake, Platform::Nixos, request.address)? {
        match flake.with_input(&lacking) {
            Ok(edited) => changes.push(host::edit(facts, edited)),
            Err(why) => left.push(by_hand(&lacking, why)),
        }
    }
    Ok(())
}

/// What takes the module and the document in.
fn lines() -> Vec<String> {
    vec![
        "{ inputs, ... }: at its beginning; specialArgs = { inherit inputs; }; in flake.nix, where its \
         modules are not given `inputs` yet"
            .to_owned(),
        format!("imports = [ inputs.{PLATFORM}.nixosModules.default ];"),
        format!("{PLATFORM}.document = ./host.toml;"),
    ]
}
