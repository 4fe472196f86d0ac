//! A repository on a volume: mounted for as long as it is read, and never written to.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use bedplate_facts::roots::names;
use bedplate_model::plan::FoundVolume;
use bedplate_tools::mount::{Access, Mount, unmount};

use crate::device::{kernel_name, partition_node};
use crate::error::{During as _, StepError};

/// How many names are told of what a directory holds.
const TOLD: usize = 10;

/// Works on the volume, which is mounted read-only at `at` meanwhile.
pub fn with<T>(
    found: &FoundVolume,
    at: &Path,
    work: impl FnOnce(&Path) -> Result<T, StepError>,
) -> Result<T, StepError> {
    let what = || format!("could not mount the volume {}", found.label);
    let node = node(found)?;
    fs::create_dir_all(at).during(what())?;
    let source = node.display().to_string();
    let options = without_writing(&found.kind);
    Mount { source: &source, target: at, kind: &found.kind, access: Access::ReadOnly, options }
        .mount_restricted()
        .during(what())?;
    let done = work(at);
    let unmounted = unmount(at).during(format!("could not unmount the volume {}", found.label));
    done.and_then(|value| unmounted.map(|()| value))
}

/// The volume's node, if it still is what the plan found.
fn node(found: &FoundVolume) -> Result<PathBuf, StepError> {
    let name = kernel_name(&found.disk)?;
    let node = match found.partition {
        Some(partition) => partition_node(&name, partition),
        None => Path::new("/dev").join(name),
    };
    let what = || format!("could not look at {}", node.display());
    let inside = bedplate_blkid::probe(&node).during(what())?;
    let label = Some(&found.label);
    if inside.iter().any(|one| one.kind == found.kind && one.label.as_ref() == label) {
        return Ok(node);
    }
    Err(StepError::new(format!("{} no longer is the volume {}", node.display(), found.label)))
}

/// Options by which a file system that was not unmounted cleanly is read as it is: replaying its
/// journal would write, also when it is mounted read-only (ext4(5), btrfs(5)).
fn without_writing(kind: &str) -> &'static str {
    match kind {
        "ext3" | "ext4" => "noload",
        "btrfs" => "rescue=nologreplay",
        _ => "",
    }
}

/// The repository or bundle on the volume that is mounted at `root`, reached through no link.
pub fn repository(root: &Path, path: Option<&str>) -> Result<PathBuf, StepError> {
    let mut place = root.to_owned();
    let mut found = look(&place, root)?;
    for part in path.into_iter().flat_map(|path| path.split('/')) {
        place.push(part);
        found = look(&place, root)?;
    }
    if found.is_file() {
        return Ok(place);
    }
    let own = |name: &str| fs::symlink_metadata(place.join(name)).ok();
    let clone = own(".git").is_some_and(|git| git.is_dir());
    let bare = own("HEAD").is_some_and(|head| head.is_file())
        && own("objects").is_some_and(|objects| objects.is_dir());
    if clone || bare {
        return Ok(place);
    }
    Err(StepError::new(format!(
        "{} is no git repository: it holds {}",
        shown(&place, root),
        listing(&place)
    )))
}

/// A file or a directory; what else is there is said.
fn look(place: &Path, root: &Path) -> Result<Metadata, StepError> {
    let found = match fs::symlink_metadata(place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seen = place.parent().map(listing).unwrap_or_default();
            let what = format!("{} is not there; beside it: {seen}", shown(place, root));
            return Err(StepError::new(what));
        }
        found => found.during(format!("could not look at {}", shown(place, root)))?,
    };
    if found.is_dir() || found.is_file() {
        return Ok(found);
    }
    let what = if found.is_symlink() { "a link" } else { "no file or directory" };
    Err(StepError::new(format!("{} is {what}, which is not followed", shown(place, root))))
}

/// As its owner knows it.
fn shown(place: &Path, root: &Path) -> String {
    let inside = place.strip_prefix(root).unwrap_or(place).display().to_string();
    if inside.is_empty() { "the volume".to_owned() } else { format!("`{inside}`") }
}

/// The first names in a directory, escaped: they are shown on a terminal.
fn listing(directory: &Path) -> String {
    let all = names(directory);
    let more = if all.len() > TOLD { ", …" } else { "" };
    let first: Vec<String> =
        all.iter().take(TOLD).map(|name| name.escape_debug().to_string()).collect();
    if first.is_empty() { "nothing".to_owned() } else { format!("{}{more}", first.join(", ")) }
}
