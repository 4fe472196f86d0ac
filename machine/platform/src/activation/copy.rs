//! Copies out of the store: modes as a root file system has them, not as the store has them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_tools::sync;

use super::{ActivationError, file, make_directory, replace_link, set_mode};

/// 0755 for what can be executed, 0644 for the rest.
pub fn mode_of(source: &Path) -> Result<u32, ActivationError> {
    let metadata = fs::metadata(source).map_err(file("look at", source))?;
    Ok(if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 })
}

/// Makes the directories that `target` lacks, below directories only.
pub fn directories(source: &Path, target: &Path) -> Result<(), ActivationError> {
    match fs::symlink_metadata(target) {
        Ok(metadata) if !metadata.is_dir() => return Ok(()),
        Ok(_) => {}
        Err(_) => make_directory(target, 0o755)?,
    }
    for entry in fs::read_dir(source).map_err(file("list", source))? {
        let entry = entry.map_err(file("list", source))?;
        if entry.file_type().map_err(file("look at", source))?.is_dir() {
            directories(&entry.path(), &target.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Copies what `target` lacks; what is there stays as it is. New files get their names only
/// once their content lasts, with one flush for all of them.
pub fn missing(source: &Path, target: &Path) -> Result<(), ActivationError> {
    let mut staged = Vec::new();
    stage(source, target, &mut staged)?;
    sync::file_system(target).map_err(file("flush", target))?;
    for (new, path) in staged {
        fs::rename(&new, &path).map_err(file("replace", &path))?;
    }
    Ok(())
}

fn stage(
    source: &Path,
    target: &Path,
    staged: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<(), ActivationError> {
    let kind = fs::symlink_metadata(source).map_err(file("look at", source))?.file_type();
    let present = fs::symlink_metadata(target).is_ok();
    if kind.is_dir() {
        if !present {
            make_directory(target, 0o755)?;
        }
        for entry in fs::read_dir(source).map_err(file("list", source))? {
            let name = entry.map_err(file("list", source))?.file_name();
            stage(&source.join(&name), &target.join(&name), staged)?;
        }
        return Ok(());
    }
    if present {
        return Ok(());
    }
    if kind.is_symlink() {
        return replace_link(target, &fs::read_link(source).map_err(file("read", source))?);
    }
    let mut new = target.as_os_str().to_owned();
    new.push(".bedplate-new");
    let new = PathBuf::from(new);
    let content = fs::read(source).map_err(file("read", source))?;
    fs::write(&new, content).map_err(file("write", &new))?;
    set_mode(&new, mode_of(source)?)?;
    staged.push((new, target.to_owned()));
    Ok(())
}
