//! Another tree than the live system's own, to be installed in its place.
//!
//! The live system stays what it is; the installer copies this image instead of the tree's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Error, file};
use crate::platform::{Platform, place};
use crate::toplevel::Supplied;
use crate::tree_nix::{StorePath, TreePrograms};
use crate::verity_image::{self, Verity};

/// The image with the tree that is installed.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) image: PathBuf,
    pub(crate) verity: Verity,
    pub(crate) tree: StorePath,
    place: PathBuf,
}

impl Closure {
    /// The tree that it holds.
    pub(crate) fn supplied(&self) -> Supplied {
        self.tree.supplied(self.place.clone())
    }
}

/// Makes the image of `root` and of the platform's archive of modules, below `work`.
pub(crate) fn make(root: &Path, platform: &Platform, work: &Path) -> Result<Closure, Error> {
    let stage = work.join("closure");
    let store = stage.join("nix/store");
    fs::create_dir_all(&store).map_err(file("make", &store))?;
    let tree = store.join("tree");
    copy(root, &tree)?;
    let tree = place(&TreePrograms::new(&platform.root()), "bedplate-tree", &tree)?;
    let modules = &platform.record.initrd_modules;
    copy(&platform.modules(), &stage.join(modules.relative()))?;
    let registration = stage.join("registration");
    fs::write(&registration, tree.registration() + &modules.registration())
        .map_err(file("write", &registration))?;
    let image = work.join("closure.squashfs");
    let verity = verity_image::make(&stage, &image)?;
    let place = stage.join(tree.relative());
    Ok(Closure { image, verity, tree, place })
}

/// Copies with the permissions of a store.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(from).map_err(file("look at", from))?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(file("read", from))?;
        return symlink(target, to).map_err(file("link", to));
    }
    let executable = metadata.is_dir() || metadata.permissions().mode() & 0o111 != 0;
    if metadata.is_dir() {
        fs::create_dir(to).map_err(file("make", to))?;
        for entry in fs::read_dir(from).map_err(file("list", from))? {
            let name = entry.map_err(file("list", from))?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        fs::copy(from, to).map_err(file("copy", from))?;
    }
    let mode = if executable { 0o555 } else { 0o444 };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(file("seal", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_store_permissions_and_keeps_links() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/run"), "x").unwrap();
        fs::set_permissions(from.join("bin/run"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::write(from.join("text"), "y").unwrap();
        symlink("bin/run", from.join("link")).unwrap();
        copy(&from, &to).unwrap();
        let mode = |name: &str| to.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("bin"), mode("bin/run"), mode("text")), (0o555, 0o555, 0o444));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("bin/run"));
        crate::platform::remove(&to).unwrap();
    }
}
