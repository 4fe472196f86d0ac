//! Where a repository keeps its hosts. It is never guessed: where several places are as good, they are
//! named, and the owner chooses.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::flake::frameworks::Framework;
use crate::flake::hosts::Hosts;
use crate::flake::sources::{Kind, Names, Sources, below, split};
use crate::shipped::HOSTS;

/// What directories of hosts are called.
const WORDS: [&str; 9] = [
    "hosts",
    "machines",
    "systems",
    "nodes",
    "servers",
    "host",
    "nixosConfigurations",
    "nixos-configurations",
    "computers",
];

/// What holds files named after hosts without being where hosts live.
const OTHERS: [&str; 52] = [
    "module",
    "modules",
    "nixosModules",
    "overlay",
    "overlays",
    "profile",
    "profiles",
    "role",
    "roles",
    "user",
    "users",
    "home",
    "homes",
    "home-manager",
    "secret",
    "secrets",
    "sops",
    "age",
    "keys",
    "vars",
    "facts",
    "pkgs",
    "package",
    "packages",
    "lib",
    "libs",
    "template",
    "templates",
    "test",
    "tests",
    "doc",
    "docs",
    "example",
    "examples",
    "common",
    "shared",
    "services",
    "features",
    "disks",
    "disko",
    "hardware",
    "dotfiles",
    "scripts",
    "assets",
    "shells",
    "checks",
    "apps",
    "terraform",
    "ansible",
    "containers",
    "suites",
    "bedplate",
];

/// The system of hosts that are added.
const SYSTEM: &str = "x86_64-linux";

/// The directory of hosts.
pub(crate) fn directory(hosts: &Hosts, sources: &Sources) -> Result<String, Error> {
    if let Some(lister) = &hosts.lister {
        return Ok(lister.clone());
    }
    let built = hosts.frameworks.iter().find_map(|one| match one {
        Framework::Builders { directory, .. } => directory.clone(),
        _ => None,
    });
    if let Some(directory) = built {
        return Ok(directory);
    }
    let place = Place { hosts, sources };
    for found in [place.listed(), place.named(has_directory), place.called()] {
        if !found.is_empty() {
            return one_of(&place, found);
        }
    }
    // Files of that name alone may be anything.
    let perhaps = place.named(holds);
    if perhaps.is_empty() {
        return Ok(HOSTS.to_owned());
    }
    Err(Error::Where { candidates: shown(&perhaps) })
}

/// A link that stands where hosts may live.
pub(crate) fn link(sources: &Sources) -> Option<String> {
    let all = sources.directories.iter();
    let there = all.filter_map(|(path, names)| names.as_ref().map(|names| (path, names)));
    there
        .flat_map(|(path, names)| {
            let links = names.iter().filter(|(_, kind)| **kind == Kind::Link);
            links.map(|(name, _)| below(path, name)).collect::<Vec<_>>()
        })
        .find(|path| is_of_hosts(path))
}

/// Whether a directory is one that hosts live in, by its name.
pub(crate) fn is_of_hosts(directory: &str) -> bool {
    let (above, name) = split(directory);
    let name = if is_system(name) || name == "nixos" { split(above).1 } else { name };
    WORDS.contains(&name) && !is_of_others(directory)
}

fn is_of_others(directory: &str) -> bool {
    directory.split('/').any(|part| OTHERS.contains(&part))
}

fn is_system(name: &str) -> bool {
    let (architecture, system) = name.split_once('-').unwrap_or_default();
    let known = ["x86_64", "aarch64", "i686", "armv7l", "armv6l", "riscv64"];
    known.contains(&architecture) && !system.is_empty()
}

fn one_of(place: &Place<'_>, found: BTreeSet<String>) -> Result<String, Error> {
    let of_systems = |path: &String| is_system(split(path).1);
    let refused = || Error::Where { candidates: shown(&found) };
    if found.iter().any(of_systems) {
        // Beside those of other systems, where there are any.
        let ours: BTreeSet<String> = found
            .iter()
            .filter(|path| of_systems(path))
            .map(|path| below(split(path).0, SYSTEM))
            .filter(|path| place.sources.directories.get(path).is_some_and(Option::is_some))
            .collect();
        return match ours.first() {
            Some(one) if ours.len() == 1 && found.iter().all(of_systems) => Ok(one.clone()),
            _ => Err(refused()),
        };
    }
    match found.first() {
        Some(one) if found.len() == 1 && !one.is_empty() => Ok(one.clone()),
        _ => Err(refused()),
    }
}

/// Directories for people; the root has no name.
fn shown(directories: &BTreeSet<String>) -> String {
    let names = directories.iter().map(|path| if path.is_empty() { "." } else { path });
    names.collect::<Vec<_>>().join(", ").escape_debug().to_string()
}

struct Place<'a> {
    hosts: &'a Hosts,
    sources: &'a Sources,
}

impl Place<'_> {
    /// Whether something makes a host of whatever stands there.
    fn is_taken(&self, directory: &str) -> bool {
        self.hosts.frameworks.iter().any(|one| match one {
            Framework::Lister { directory: listed, .. } => {
                directory == listed
                    || directory.strip_prefix(listed).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        })
    }

    /// Directories that the hosts are listed in.
    fn listed(&self) -> BTreeSet<String> {
        let listed = self.hosts.known.values().filter_map(|known| known.listed.clone());
        listed.filter(|directory| !self.is_taken(directory)).collect()
    }

    /// Directories that hold the most hosts by their name.
    fn named(&self, holds: impl Fn(&Names, &str) -> bool) -> BTreeSet<String> {
        let names: Vec<&String> = self
            .hosts
            .known
            .iter()
            .filter(|(_, known)| known.listed.is_none())
            .map(|one| one.0)
            .collect();
        let mut covered: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (directory, found) in self.directories() {
            let is = is_of_hosts(directory);
            let is_there = |name: &&&String| holds(found, name) || is && self::holds(found, name);
            let count = names.iter().filter(is_there).count();
            if count > 0 {
                covered.entry(count).or_default().insert(directory.clone());
            }
        }
        let Some((_, best)) = covered.pop_last() else { return BTreeSet::new() };
        let words: BTreeSet<String> =
            best.iter().filter(|directory| is_of_hosts(directory)).cloned().collect();
        if words.is_empty() { best } else { words }
    }

    /// Directories that are called as those of hosts are.
    fn called(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (directory, names) in self.directories() {
            if !is_of_hosts(directory) || is_system(split(directory).1) {
                continue;
            }
            let systems: Vec<String> = names
                .iter()
                .filter(|(name, kind)| **kind == Kind::Directory && is_system(name))
                .map(|(name, _)| below(directory, name))
                .collect();
            if systems.is_empty() {
                found.insert(directory.clone());
            } else {
                found.extend(systems);
            }
        }
        found
    }

    fn directories(&self) -> impl Iterator<Item = (&String, &Names)> {
        let all = self.sources.directories.iter();
        let there = all.filter_map(|(path, names)| names.as_ref().map(|names| (path, names)));
        there.filter(|(path, _)| !is_of_others(path) && !self.is_taken(path))
    }
}

/// Whether a directory holds a directory of that name.
fn has_directory(names: &Names, host: &str) -> bool {
    names.get(host) == Some(&Kind::Directory)
}

/// Whether a directory holds a host of that name, as a directory or as a file.
pub(crate) fn holds(names: &Names, host: &str) -> bool {
    names.get(host).is_some_and(|kind| *kind != Kind::File)
        || names.get(&format!("{host}.nix")).is_some_and(|kind| *kind != Kind::Directory)
}

/// Where the tree has a host of that name besides the directory of hosts.
pub(crate) fn elsewhere(sources: &Sources, directory: &str, name: &str) -> Option<String> {
    let all = sources.directories.iter();
    let found = all.filter_map(|(path, names)| names.as_ref().map(|names| (path, names)));
    let mut places = found.filter(|(path, names)| {
        path.as_str() != directory && is_of_hosts(path) && holds(names, name)
    });
    let (path, names) = places.next()?;
    let suffix = if names.contains_key(name) { "" } else { ".nix" };
    Some(format!("{path}/{name}{suffix}"))
}
