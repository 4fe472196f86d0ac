//! The live system: images of the medium under a writable layer in memory.

use std::path::{Path, PathBuf};

use bedplate_formats::boot::Live;

use crate::console::Console;
use crate::error::Error;
use crate::images::{self, IMAGES};
use crate::{medium, overlay};

/// Puts the live root together at `root`.
pub(crate) fn prepare(live: &Live, root: &Path, console: &Console) -> Result<(), Error> {
    let medium = medium::mount(&live.build, console)?;
    let mut stores = Vec::new();
    let mut tree = None;
    for image in &live.images {
        let mounted = images::mount(image, &medium)?;
        console.say(&format!("image {} opened", image.name));
        let candidate = mounted.join(live.tree.trim_start_matches('/'));
        if tree.is_none() && candidate.is_dir() {
            tree = Some(candidate);
        }
        let store = mounted.join("nix/store");
        if store.is_dir() {
            stores.push(store);
        }
    }
    let missing = || Error::file("find the tree", Path::new(&live.tree), not_found());
    overlay::mount(&[tree.ok_or_else(missing)?], Path::new("/run/bedplate/rw/root"), root)?;
    if !stores.is_empty() {
        let target = root.join("nix/store");
        overlay::mount(&stores, Path::new("/run/bedplate/rw/store"), &target)?;
    }
    let files: PathBuf = Path::new(IMAGES).join(&live.overlay);
    if files.is_dir() {
        overlay::lay_over(&files, root)?;
    }
    Ok(())
}

fn not_found() -> std::io::Error {
    std::io::ErrorKind::NotFound.into()
}
