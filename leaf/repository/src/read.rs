//! What a repository is found to hold. Links are not followed.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use bedplate_document::rules;
use uuid::Uuid;

use crate::error::{Error, file};
use crate::flake::Flake;
use crate::flake::hosts::Hosts;
use crate::flake::sources::Sources;
use crate::host::{FLAKE_FILE, LOCK_FILE};
use crate::place;
use crate::shipped::{DESCRIPTION, PLATFORM};

/// The longest file that is read of a repository, in bytes.
const LIMIT: u64 = 8 << 20;

/// The directory `bedplate` of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vendored {
    /// There is none.
    Absent,
    /// It is a vendored platform.
    Ours {
        /// The description of a medium's, where it has one.
        description: Option<Vec<u8>>,
    },
    /// It is something else.
    Foreign,
}

/// What is to be known of a repository before a host is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// Text of the file `flake.nix` at its root.
    pub flake: String,
    /// Text of the file `flake.lock` at its root; none when it is not there.
    pub lock: Option<String>,
    /// Where its hosts are.
    pub hosts: String,
    /// What stands there.
    pub entries: BTreeSet<String>,
    /// The ids of the hosts that have a document, by name.
    pub ids: BTreeMap<String, Uuid>,
    /// The directory `bedplate`.
    pub platform: Vendored,
    /// The hosts that the flake has.
    pub found: Hosts,
    /// What the flake was read with.
    pub sources: Sources,
}

impl RepositoryFacts {
    /// Whether the host's directory is there and has no document.
    pub(crate) fn adoptable(&self, name: &str) -> bool {
        let path = format!("{}/{name}", self.hosts);
        let there = matches!(self.sources.directories.get(&path), Some(Some(_)));
        there && !self.ids.contains_key(name)
    }
}

/// Reads a repository; `hosts` is the directory of hosts when somebody has chosen it.
pub fn facts(root: &Path, hosts: Option<&str>) -> Result<RepositoryFacts, Error> {
    let text_of = text(&root.join(FLAKE_FILE))?;
    let flake = text_of.ok_or_else(|| Error::NoFlake { path: root.to_owned() })?;
    let parsed = Flake::parse(&flake)?;
    if !parsed.has_outputs() {
        return Err(Error::NoOutputs);
    }
    let mut sources = Sources { directories: tree::walk(root)?, ..Sources::default() };
    let found = tree::follow(root, &parsed, &mut sources)?;
    let hosts = match hosts {
        Some(hosts) => hosts.trim_end_matches('/').to_owned(),
        None => match place::link(&sources) {
            Some(link) => return Err(Error::Link { path: root.join(link) }),
            None => place::directory(&found, &sources)?,
        },
    };
    // Before anything is looked for there.
    rules::relative_path(&hosts).map_err(Error::rule)?;
    tree::is_plain(root, &hosts)?;
    let entries = names(&root.join(&hosts))?;
    let id = |name: &String| {
        let document = text(&root.join(&hosts).join(name).join("host.toml")).ok()??;
        Some((name.clone(), id_of(&document)?))
    };
    let ids = entries.iter().filter_map(id).collect();
    let lock = text(&root.join(LOCK_FILE))?;
    tree::complete(root, &hosts, &entries, &mut sources);
    tree::listers(root, &hosts, &mut sources);
    sources.files.insert(FLAKE_FILE.to_owned(), Some(flake.clone()));
    Ok(RepositoryFacts {
        flake,
        lock,
        hosts,
        entries,
        ids,
        platform: platform(root)?,
        found,
        sources,
    })
}

/// The id that a document gives its host.
fn id_of(document: &str) -> Option<Uuid> {
    // A repository may have ten thousand: most are not parsed for one line.
    let mut lines = document.lines().map(str::trim).skip_while(|line| *line != "[host]").skip(1);
    let line = lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.split('"').next()?;
        (key.trim() == "id").then(|| Uuid::try_parse(value).ok()).flatten()
    });
    line.or_else(|| {
        let tree: toml_edit::DocumentMut = document.parse().ok()?;
        Uuid::try_parse(tree.get("host")?.get("id")?.as_str()?).ok()
    })
}

/// Whether a repository may be started at `path`: nothing is there, or nothing but `.git`.
pub fn is_free(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => Ok(false),
        _ => Ok(names(path)?.iter().all(|name| name == ".git")),
    }
}

fn platform(root: &Path) -> Result<Vendored, Error> {
    let path = root.join(PLATFORM);
    if fs::symlink_metadata(&path).is_err() {
        return Ok(Vendored::Absent);
    }
    if !["lib.nix", FLAKE_FILE].iter().all(|name| path.join(name).is_file()) {
        return Ok(Vendored::Foreign);
    }
    let description = text(&path.join(DESCRIPTION))?.map(String::into_bytes);
    Ok(Vendored::Ours { description })
}

/// The text of a file; none when it is not there.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Error> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file("look at", path)(error)),
        Ok(found) if found.is_symlink() => return Err(Error::Link { path: path.to_owned() }),
        Ok(found) if found.len() > LIMIT => {
            return Err(file("read", path)(io::Error::other("it is too large")));
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(file("read", path))
}

fn names(directory: &Path) -> Result<BTreeSet<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.map_err(file("list", directory))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect::<io::Result<_>>().map_err(file("list", directory))
}
