//! A new repository with its first host.

use crate::change::{Added, Change, Files, Left, Proposal};
use crate::document;
use crate::error::Error;
use crate::host::{self, FLAKE_FILE, LOCK_FILE, Request};
use crate::shipped::{self, DESCRIPTION, FLAKE, HOSTS, LOCK, PLATFORM};

/// What a new repository consists of. `flake.nix` comes last: a directory without one is no flake.
pub fn decide(request: &Request<'_>) -> Result<Proposal, Error> {
    let (text, found) = document::fit(request.document, request.name, HOSTS)?;
    host::check_id(&found)?;
    let directory = format!("{HOSTS}/{}", request.name);
    let (top, below) = HOSTS.split_once('/').unwrap_or((HOSTS, ""));
    let mut nix = Files::from([(format!("{below}/.gitkeep"), Vec::new())]);
    for (name, content) in host::files(text, false) {
        nix.insert(format!("{below}/{}/{name}", request.name), content);
    }
    let changes = vec![
        Change::Directory {
            path: PLATFORM.to_owned(),
            files: shipped::platform(request.description),
        },
        Change::Directory { path: top.to_owned(), files: nix },
        Change::File { path: LOCK_FILE.to_owned(), content: LOCK.into() },
        Change::File { path: FLAKE_FILE.to_owned(), content: FLAKE.into() },
    ];
    let left = match request.description {
        Some(_) => Vec::new(),
        None => vec![Left::Platform { file: format!("{PLATFORM}/{DESCRIPTION}") }],
    };
    let host = Added { name: request.name.to_owned(), id: found.host.id, directory };
    Ok(Proposal { host, changes, left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_repository_is_the_template_around_its_first_host() {
        let profile = shipped::profile("hypervisor").unwrap();
        let example = Request { name: "attic", document: profile, description: Some(b"{}") };
        assert!(matches!(decide(&example), Err(Error::Example)));
        let own = profile.replace("00000000-0000-4000-8000-", "3f0c7a52-5d0e-4b8e-9d5e-");
        let request = Request { document: &own, ..example };
        let proposal = decide(&request).unwrap();
        insta::assert_snapshot!("init", proposal.to_string());
        assert_eq!(proposal.left, []);
        let bare = decide(&Request { description: None, ..request }).unwrap();
        assert!(matches!(bare.left.as_slice(), [Left::Platform { .. }]), "{:?}", bare.left);
    }
}
