//! `/etc`: files are ours as long as they are as we wrote them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_tools::sync;
use sha2::{Digest as _, Sha256};

use super::{ActivationError, copy, file, make_directory, replace_file, replace_link, set_mode};

/// Merged by name or made by the machine itself: see `accounts` and `machine-id`.
const NOT_COPIED: &[&str] = &[
    "passwd",
    "passwd-",
    "group",
    "group-",
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "machine-id",
    "subuid",
    "subgid",
    "subuid-",
    "subgid-",
    "mtab",
    ".pwd.lock",
    ".resolv.conf.systemd-resolved.bak",
];

/// Made by the machine, once: two machines never share one.
const HOST_KEYS: &str = "ssh/ssh_host_";

/// New files wait here until all of them are on the disk.
const STAGING: &str = ".bedplate-staging";

/// Stands in the manifest for a file that was not there.
const ABSENT: &str = "absent";

/// Path under `/etc` to the fingerprint of what was written there. While files are being
/// replaced, to the old and the new one: after a power cut either is known as ours.
type Manifest = BTreeMap<String, String>;

/// Brings `etc` to what `sources` hold, later ones first. Returns the files that were changed
/// by hand and therefore left alone.
pub fn apply(
    etc: &Path,
    sources: &[PathBuf],
    manifest: &Path,
) -> Result<Vec<PathBuf>, ActivationError> {
    let mut wanted = BTreeMap::new();
    for source in sources {
        collect(source, Path::new(""), &mut wanted)?;
    }
    let old = read(manifest)?;
    let mut new = Manifest::new();
    let mut pending = old.clone();
    let (mut staged, mut kept) = (Vec::new(), Vec::new());
    let staging = etc.join(STAGING);
    clear(&staging)?;
    make_directory(&staging, 0o700)?;
    for (relative, source) in &wanted {
        let target = etc.join(relative);
        let now = fingerprint(&target)?;
        let next = fingerprint(source)?.unwrap_or_default();
        let before = old.get(relative);
        if now.as_ref() == Some(&next) {
            new.insert(relative.clone(), next);
        } else if is_ours(before, now.as_deref()) && writable(etc, relative) {
            let file = staging.join(staged.len().to_string());
            stage(source, &file)?;
            staged.push((file, target));
            let known = now.as_deref().unwrap_or(ABSENT);
            pending.insert(relative.clone(), format!("{known} {next}"));
            new.insert(relative.clone(), next);
        } else {
            new.extend(before.map(|before| (relative.clone(), before.clone())));
            kept.push(target);
        }
    }
    if !staged.is_empty() {
        flush(etc)?;
        save(manifest, &pending)?;
    }
    for (file, target) in &staged {
        put(file, target)?;
    }
    clear(&staging)?;
    for (relative, before) in old.iter().filter(|(path, _)| !wanted.contains_key(*path)) {
        let target = etc.join(relative);
        match fingerprint(&target)? {
            Some(now) if is_ours(Some(before), Some(&now)) => {
                fs::remove_file(&target).map_err(file("remove", &target))?;
            }
            Some(_) => kept.push(target),
            None => {}
        }
    }
    if new != old || !staged.is_empty() {
        flush(etc)?;
        save(manifest, &new)?;
    }
    Ok(kept)
}

/// Whether we wrote what stands there now, or may write where nothing does.
fn is_ours(before: Option<&String>, now: Option<&str>) -> bool {
    match before {
        Some(known) => known.split(' ').any(|one| one == now.unwrap_or(ABSENT)),
        None => now.is_none(),
    }
}

fn clear(staging: &Path) -> Result<(), ActivationError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file("remove", staging)(error))
        }
        _ => Ok(()),
    }
}

/// One flush for all: two for each of some 1500 files would take the first boot a minute.
fn flush(etc: &Path) -> Result<(), ActivationError> {
    sync::file_system(etc).map_err(file("flush", etc))
}

fn save(manifest: &Path, content: &Manifest) -> Result<(), ActivationError> {
    let text = serde_json::to_vec_pretty(content).map_err(io::Error::from);
    replace_file(manifest, &text.map_err(file("write", manifest))?, 0o644)
}

/// Whether all parents are directories or can become ones.
fn writable(etc: &Path, relative: &str) -> bool {
    let target = etc.join(relative);
    let inside = target.ancestors().skip(1).take_while(|path| *path != etc);
    !target.is_dir()
        && inside.into_iter().all(|path| match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.is_dir(),
            Err(_) => true,
        })
}

/// Moves what was staged to its place.
fn put(staged: &Path, target: &Path) -> Result<(), ActivationError> {
    if let Some(parent) = target.parent().filter(|parent| !parent.is_dir()) {
        make_directory(parent, 0o755)?;
    }
    fs::rename(staged, target).map_err(file("replace", target))
}

fn stage(source: &Path, target: &Path) -> Result<(), ActivationError> {
    let kind = fs::symlink_metadata(source).map_err(file("look at", source))?.file_type();
    if kind.is_symlink() {
        return replace_link(target, &fs::read_link(source).map_err(file("read", source))?);
    }
    fs::copy(source, target).map_err(file("copy to", target))?;
    set_mode(target, copy::mode_of(source)?)
}

fn collect(
    source: &Path,
    below: &Path,
    wanted: &mut BTreeMap<String, PathBuf>,
) -> Result<(), ActivationError> {
    let directory = source.join(below);
    for entry in fs::read_dir(&directory).map_err(file("list", &directory))? {
        let entry = entry.map_err(file("list", &directory))?;
        let relative = below.join(entry.file_name());
        let kind = entry.file_type().map_err(file("look at", &directory))?;
        let Some(name) = relative.to_str().map(str::to_owned) else { continue };
        if kind.is_dir() {
            collect(source, &relative, wanted)?;
        } else if !NOT_COPIED.contains(&name.as_str()) && !name.starts_with(HOST_KEYS) {
            wanted.insert(name, entry.path());
        }
    }
    Ok(())
}

/// What stands at `path`; none when nothing does. Modes are not part of it.
fn fingerprint(path: &Path) -> Result<Option<String>, ActivationError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(file("look at", path)(error)),
    };
    let mut hasher = Sha256::new();
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(file("read", path))?;
        hasher.update(b"link:");
        hasher.update(target.as_os_str().as_encoded_bytes());
    } else if metadata.is_file() {
        hasher.update(b"file:");
        hasher.update(fs::read(path).map_err(file("read", path))?);
    } else {
        return Ok(Some("other".to_owned()));
    }
    Ok(Some(bedplate_tools::digest::hexadecimal(&hasher.finalize())))
}

fn read(manifest: &Path) -> Result<Manifest, ActivationError> {
    match fs::read(manifest) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(io::Error::from)
            .map_err(file("understand", manifest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::new()),
        Err(error) => Err(file("read", manifest)(error)),
    }
}

#[cfg(test)]
mod tests;
