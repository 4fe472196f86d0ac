//! A new repository with its first host.

use bedplate_model::host::Platform;

use crate::change::{Added, Change, Files, Left, Proposal};
use crate::document;
use crate::error::Error;
use crate::host::{self, FLAKE_FILE, LOCK_FILE, NewHost};
use crate::input;
use crate::shipped::{self, DESCRIPTION, FLAKE, HOSTS, LOCK, PLATFORM};

/// What a new repository consists of. `flake.nix` comes last: a directory without one is no flake.
pub fn decide(request: &NewHost<'_>) -> Result<Proposal, Error> {
    let (text, found) = document::fit(request, HOSTS)?;
    host::check_id(&found)?;
    input::expect_no_address(found.host.platform, request.address)?;
    let directory = format!("{HOSTS}/{}", request.name);
    let (top, below) = HOSTS.split_once('/').unwrap_or((HOSTS, ""));
    let mut nix = Files::from([(format!("{below}/.gitkeep"), Vec::new())]);
    for (name, content) in host::files(text, None) {
        nix.insert(format!("{below}/{}/{name}", request.name), content);
    }
    let hosts = Change::Directory { path: top.to_owned(), files: nix };
    let (changes, left) = match found.host.platform {
        Platform::Embedded => embedded(request, hosts),
        Platform::Nixos => nixos(request, hosts)?,
    };
    let host = Added { name: request.name.to_owned(), id: found.host.id, directory };
    Ok(Proposal { host, changes, left })
}

/// With the platform beside it, and a lock that needs no hash.
fn embedded(request: &NewHost<'_>, hosts: Change) -> (Vec<Change>, Vec<Left>) {
    let changes = vec![
        Change::Directory {
            path: PLATFORM.to_owned(),
            files: shipped::platform(request.description),
        },
        hosts,
        Change::File { path: LOCK_FILE.to_owned(), content: LOCK.into() },
        Change::File { path: FLAKE_FILE.to_owned(), content: FLAKE.into() },
    ];
    let left = match request.description {
        Some(_) => Vec::new(),
        None => vec![Left::Platform { file: format!("{PLATFORM}/{DESCRIPTION}") }],
    };
    (changes, left)
}

/// With nixpkgs and this project's flake as inputs, which only Nix can lock.
fn nixos(request: &NewHost<'_>, hosts: Change) -> Result<(Vec<Change>, Vec<Left>), Error> {
    host::nothing_vendored(request)?;
    let flake = shipped::nixos_flake(input::checked(request.address)?);
    let flake = Change::File { path: FLAKE_FILE.to_owned(), content: flake.into_bytes() };
    Ok((vec![hosts, flake], vec![host::left_to_nix("there is none")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_repository_is_the_template_around_its_first_host() {
        let profile = shipped::profile("hypervisor").unwrap();
        let example = NewHost {
            name: "attic",
            document: profile,
            description: Some(b"{}"),
            ..NewHost::default()
        };
        assert!(matches!(decide(&example), Err(Error::Example)));
        let own = profile.replace("00000000-0000-4000-8000-", "3f0c7a52-5d0e-4b8e-9d5e-");
        let request = NewHost { document: &own, ..example };
        let proposal = decide(&request).unwrap();
        insta::assert_snapshot!("init", proposal.to_string());
        assert_eq!(proposal.left, []);
        let bare = decide(&NewHost { description: None, ..request }).unwrap();
        assert!(matches!(bare.left.as_slice(), [Left::Platform { .. }]), "{:?}", bare.left);
    }

    #[test]
    fn a_new_repository_of_nixos_is_left_to_nix_to_lock() {
        let own = shipped::profile("hypervisor")
            .unwrap()
            .replace("00000000-0000-4000-8000-", "3f0c7a52-5d0e-4b8e-9d5e-");
        let request = NewHost {
            name: "attic",
            document: &own,
            platform: Some(Platform::Nixos),
            address: Some("git+https://git.example.org/bedplate"),
            ..NewHost::default()
        };
        let proposal = decide(&request).unwrap();
        insta::assert_snapshot!("nixos", proposal.to_string());
        let [Left::Lock { command, .. }] = proposal.left.as_slice() else {
            panic!("{:?}", proposal.left)
        };
        assert!(command.ends_with(" flake lock path:."), "{command}");
        let document = proposal.changes.iter().find_map(|change| match change {
            Change::Directory { files, .. } => files.get("hosts/attic/host.toml"),
            _ => None,
        });
        let text = std::str::from_utf8(document.unwrap()).unwrap();
        assert!(text.contains("platform = \"nixos\""), "{text}");

        let embedded = NewHost { platform: None, ..request };
        assert!(matches!(decide(&embedded), Err(Error::AddressOfEmbedded)));
        let nowhere = NewHost { address: None, ..request };
        assert!(matches!(decide(&nowhere), Err(Error::NoAddress)));
        let medium = NewHost { description: Some(b"{}"), ..request };
        assert!(matches!(decide(&medium), Err(Error::Medium)));
    }
}
