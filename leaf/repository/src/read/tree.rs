//! The tree of a repository, as far as it is looked at. Links are not followed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use super::text;
use crate::error::{Error, file};
use crate::flake::hosts::Hosts;
use crate::flake::sources::{Kind, Names, Sources, Wanted, below};
use crate::flake::{Flake, listers};
use crate::host::FLAKE_FILE;

/// How far below the root hosts are looked for.
const DEPTH: usize = 4;
/// How many directories are looked into.
const DIRECTORIES: usize = 4000;
/// A directory with more in it is one of hosts, or of something else that there are many of.
const MANY: usize = 400;
/// How many more things a flake may be read with than are at hand, one leading to the next.
const ROUNDS: usize = 64;
const WANTED: usize = 4000;
/// How many Nix files are looked through for who lists directories.
const FILES: usize = 1000;
const LONG: u64 = 256 << 10;

/// The directories from the root down.
pub(super) fn walk(root: &Path) -> Result<BTreeMap<String, Option<Names>>, Error> {
    let mut found = BTreeMap::new();
    let mut next = VecDeque::from([(String::new(), 0)]);
    while let Some((directory, depth)) = next.pop_front() {
        let names = match names(&root.join(&directory)) {
            Ok(names) => names,
            // What nobody may read holds no host of this flake.
            Err(_) if depth > 0 => continue,
            Err(error) => return Err(file("list", root)(error)),
        };
        let submodule = depth > 0 && names.contains_key(".git");
        if depth < DEPTH && names.len() <= MANY && found.len() < DIRECTORIES && !submodule {
            let directories = names.iter().filter(|(_, kind)| **kind == Kind::Directory);
            for (name, _) in directories.filter(|(name, _)| is_looked_into(name)) {
                next.push_back((below(&directory, name), depth + 1));
            }
        }
        found.insert(directory, Some(names));
    }
    Ok(found)
}

fn is_looked_into(name: &str) -> bool {
    !name.starts_with('.') && !["node_modules", "target", "bedplate"].contains(&name)
}

fn names(directory: &Path) -> std::io::Result<Names> {
    let mut names = Names::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = match entry.file_type()? {
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File,
            _ => Kind::Other,
        };
        names.insert(entry.file_name().to_string_lossy().into_owned(), kind);
    }
    Ok(names)
}

/// The hosts of a flake, with whatever of the tree it is read with.
pub(super) fn follow(root: &Path, flake: &Flake, sources: &mut Sources) -> Result<Hosts, Error> {
    let mut hosts = flake.hosts(sources);
    for _ in 0..ROUNDS {
        if hosts.wanted.is_empty() || sources.files.len() + hosts.wanted.len() > WANTED {
            break;
        }
        for wanted in &hosts.wanted {
            match wanted {
                Wanted::Directory(path) => {
                    let found = plain(root, path).then(|| names(&root.join(path)).ok()).flatten();
                    sources.directories.insert(path.clone(), found);
                }
                Wanted::File(path) => {
                    let found = plain(root, path).then(|| text(&root.join(path)).ok().flatten());
                    sources.files.insert(path.clone(), found.flatten());
                }
            }
        }
        hosts = flake.hosts(sources);
    }
    Ok(hosts)
}

/// Looks into the directories of hosts, where the walk did not come so far.
pub(super) fn complete(
    root: &Path,
    hosts: &str,
    entries: &BTreeSet<String>,
    sources: &mut Sources,
) {
    for path in std::iter::once(hosts.to_owned()).chain(entries.iter().map(|one| below(hosts, one)))
    {
        let directory = root.join(&path);
        let is = fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir());
        if is && !sources.directories.contains_key(&path) {
            sources.directories.insert(path, names(&directory).ok());
        }
    }
}

/// Whether no link stands on the way.
fn plain(root: &Path, path: &str) -> bool {
    let mut place = root.to_owned();
    path.split('/').filter(|part| !part.is_empty()).all(|part| {
        place.push(part);
        !fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink())
    })
}

/// Refuses a directory that a link or another repository stands on the way to.
pub(super) fn is_plain(root: &Path, path: &str) -> Result<(), Error> {
    let modules = text(&root.join(".gitmodules")).ok().flatten().unwrap_or_default();
    if let Some(module) = submodules(&modules).find(|module| holds(module, path)) {
        // One that was not fetched is an empty directory.
        return Err(Error::Submodule { path: module.escape_debug().to_string() });
    }
    let (mut place, mut shown) = (root.to_owned(), String::new());
    for part in path.split('/') {
        place.push(part);
        shown = below(&shown, part);
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
            return Err(Error::Link { path: place });
        }
        if fs::symlink_metadata(place.join(".git")).is_ok() {
            return Err(Error::Submodule { path: shown });
        }
    }
    Ok(())
}

/// The paths in a `.gitmodules`.
fn submodules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"').trim_end_matches('/');
        (key.trim() == "path").then_some(value)
    })
}

fn holds(module: &str, path: &str) -> bool {
    let rest = path.strip_prefix(module);
    !module.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads the files that may list the directory of hosts. What cannot be read lists nothing.
pub(super) fn listers(root: &Path, hosts: &str, sources: &mut Sources) {
    let mut files = Vec::new();
    for (directory, names) in &sources.directories {
        let Some(names) = names else { continue };
        let inside = directory.strip_prefix(hosts).is_some_and(|rest| rest.starts_with('/'));
        if inside {
            continue;
        }
        let nix =
            names.iter().filter(|(name, kind)| **kind == Kind::File && name.ends_with(".nix"));
        files.extend(nix.map(|(name, _)| below(directory, name)));
    }
    files.sort_by_key(|path| path.matches('/').count());
    for path in files.into_iter().filter(|path| path != FLAKE_FILE).take(FILES) {
        let place = root.join(&path);
        let short = fs::symlink_metadata(&place).is_ok_and(|found| found.len() <= LONG);
        if sources.files.contains_key(&path) || !short {
            continue;
        }
        if let Ok(Some(found)) = text(&place)
            && listers::speaks_of_listing(&found)
        {
            sources.files.insert(path, Some(found));
        }
    }
}
