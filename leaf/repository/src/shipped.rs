//! What this program brings along: the platform, the root of a repository, a host's files, profiles.

use crate::change::Files;
use crate::literal;

/// Directory of the vendored platform in a repository.
pub const PLATFORM: &str = "bedplate";
/// The description of what came with a medium, in [`PLATFORM`].
pub const DESCRIPTION: &str = "platform.json";
/// Where a repository of ours keeps its hosts.
pub const HOSTS: &str = "nix/hosts";
/// The input as a flake names it.
pub const INPUT: &str = "path:./bedplate";

/// `flake.nix` of a repository of the embedded platform.
pub const FLAKE: &str = include_str!("../../../nix/embedded/template/flake.nix");
/// Its lock.
pub const LOCK: &str = include_str!("../../../nix/embedded/template/flake.lock");
/// `flake.nix` of a repository of NixOS, with [`ADDRESS`] for the address of this project's flake.
const FLAKE_NIXOS: &str = include_str!("../../../nix/nixos/template/flake.nix");
/// What stands for the address.
const ADDRESS: &str = "\"@bedplate@\"";
/// What hands `host.toml` to the platform.
pub const CONFIGURATION: &str = include_str!("../../../nix/host/configuration.nix");
/// What stands beside it where blueprint lists the hosts.
pub const BLUEPRINT: &str = include_str!("../../../nix/blueprint/default.nix");
/// What stands beside it where a framework wants a module, and is told elsewhere what builds the host.
pub const BUILT: &str = include_str!("../../../nix/snowfall/default.nix");

/// The profiles: name and `host.toml`.
pub const PROFILES: [(&str, &str); 1] =
    [("hypervisor", include_str!("../../../profiles/hypervisor/host.toml"))];

/// The files of the vendored platform, with the description of a medium's where there is one.
pub fn platform(description: Option<&[u8]>) -> Files {
    let sources = [
        ("flake.nix", include_str!("../../../nix/embedded/flake.nix")),
        ("lib.nix", include_str!("../../../nix/embedded/lib.nix")),
    ];
    let mut files: Files =
        sources.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    if let Some(description) = description {
        files.insert(DESCRIPTION.to_owned(), description.to_vec());
    }
    files
}

/// `flake.nix` of a repository of NixOS, its module from the flake at `address`.
pub fn nixos_flake(address: &str) -> String {
    FLAKE_NIXOS.replace(ADDRESS, &literal::string(address))
}

/// The document of a profile.
pub fn profile(name: &str) -> Result<&'static str, crate::error::Error> {
    let found = PROFILES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| crate::error::Error::NoProfile {
        name: name.to_owned(),
        known: PROFILES.map(|(known, _)| known).join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_nix_file_parses() {
        let platform = platform(None);
        let texts = platform.values().map(|content| std::str::from_utf8(content).unwrap());
        let nixos = nixos_flake("path:/${x}\"");
        for text in texts.chain([FLAKE, &nixos, CONFIGURATION, BLUEPRINT, BUILT]) {
            let parsed = rnix::Root::parse(text);
            assert!(parsed.errors().is_empty(), "{:?} in\n{text}", parsed.errors());
        }
    }

    #[test]
    fn a_new_repository_of_nixos_takes_the_nixpkgs_that_this_flake_names() {
        let line = |text: &str| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| line.starts_with("inputs.nixpkgs.url")).unwrap().to_owned()
        };
        assert_eq!(line(FLAKE_NIXOS), line(include_str!("../../../flake.nix")));
        let flake = nixos_flake("path:/${x}\"");
        assert!(flake.contains("bedplate.url = \"path:/\\${x}\\\"\";"), "{flake}");
    }

    #[test]
    fn the_platform_is_all_that_stands_in_its_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nix/embedded");
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<String> = entries
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(platform(None).into_keys().collect::<Vec<_>>(), names);
    }
}
