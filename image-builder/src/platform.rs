//! Everything that depends on the Debian packages alone: tree, modules and their image. Cached.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_tools::mmdebstrap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::build::Stage;
use crate::error::{Error, file, tool, unfit};
use crate::system_image::Store;
use crate::toplevel::Supplied;
use crate::tree_nix::{StorePath, TreePrograms};
use crate::verity_image::Verity;
use crate::{modules, tree};

/// The packages, one a line.
const PACKAGES: &str = include_str!("../packages/platform.txt");
const SUITE: &str = "trixie";
/// Raised when the code that makes the tree changes what it makes.
const FORMAT: &str = "4";
const RECORD: &str = "platform.json";
const IMAGE: &str = "tree.erofs";

/// A platform in the cache.
#[derive(Debug)]
pub(crate) struct Platform {
    directory: PathBuf,
    pub(crate) record: Record,
}

/// What is known of a platform.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) tree: StorePath,
    pub(crate) initrd_modules: StorePath,
    pub(crate) kernel_version: String,
    pub(crate) verity: Verity,
}

impl Platform {
    /// The platform from the cache, made first when it is not there.
    pub(crate) fn obtain(
        cache: &Path,
        mirror: Option<&str>,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<Self, Error> {
        let _held = hold(cache)?;
        let directory = cache.join(format!("platform-{}", key()));
        let record = directory.join(RECORD);
        if !record.exists() {
            let staged = cache.join(format!("platform-{}.part", key()));
            make(&staged, mirror, on_stage)?;
            fs::rename(&staged, &directory).map_err(file("rename", &staged))?;
            remove_older(cache, &directory)?;
        }
        let text = fs::read(&record).map_err(file("read", &record))?;
        let parsed = serde_json::from_slice(&text);
        let parsed = parsed.map_err(|error| unfit("the record", &record, error.to_string()))?;
        Ok(Self { directory, record: parsed })
    }

    /// The tree on this machine.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("stage").join(self.record.tree.relative())
    }

    /// The archive of modules on this machine.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("stage").join(self.record.initrd_modules.relative())
    }

    /// The tree that its image holds.
    pub(crate) fn supplied_tree(&self) -> Supplied {
        self.record.tree.supplied(self.root())
    }

    /// The archive of modules that its image holds.
    pub(crate) fn supplied_modules(&self) -> Supplied {
        self.record.initrd_modules.supplied(self.modules())
    }

    /// The image that goes onto the medium.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join(IMAGE)
    }

    /// The kernel.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.root().join("boot").join(format!("vmlinuz-{}", self.record.kernel_version))
    }
}

/// Two builds at once share the cache: the second waits for what the first makes, until the lock
/// is dropped.
pub(crate) fn hold(cache: &Path) -> Result<fs::File, Error> {
    let lock = cache.join("lock");
    let held = fs::File::create(&lock).and_then(|file| file.lock().map(|()| file));
    held.map_err(file("lock", &lock))
}

fn packages() -> Vec<&'static str> {
    let lines = PACKAGES.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn key() -> String {
    let mut hasher = Sha256::new();
    for part in [FORMAT, SUITE, PACKAGES, modules::LIST] {
        hasher.update(part);
        hasher.update([0]);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make(
    directory: &Path,
    mirror: Option<&str>,
    on_stage: &mut dyn FnMut(Stage),
) -> Result<(), Error> {
    remove(directory)?;
    let store = directory.join("stage/nix/store");
    fs::create_dir_all(&store).map_err(file("make", &store))?;

    on_stage(Stage::Packages);
    let root = store.join("tree");
    let as_root = rustix::process::geteuid().is_root();
    let request = mmdebstrap::Tree { suite: SUITE, mirror, packages: &packages(), as_root };
    let unpacked = mmdebstrap::stream(&request, |stream| tree::unpack(stream, &root));
    unpacked.map_err(tool("install the packages"))??;

    on_stage(Stage::Closure);
    let kernel_version = modules::kernel_version(&root)?;
    let archive = store.join("modules");
    let content = modules::archive(&root, &kernel_version, modules::LIST)?;
    fs::write(&archive, content).map_err(file("write", &archive))?;
    let read_only = fs::Permissions::from_mode(0o444);
    fs::set_permissions(&archive, read_only).map_err(file("seal", &archive))?;
    let nix = TreePrograms::new(&root);
    let tree = place(&nix, "bedplate-tree", &root)?;
    let nix = TreePrograms::new(&store.join(base_name(&tree)));
    let initrd_modules = place(&nix, "bedplate-initrd-modules", &archive)?;

    on_stage(Stage::TreeImage);
    let registration = tree.registration() + &initrd_modules.registration();
    let stage = directory.join("stage");
    let store = Store { name: &tree.path, stage: &stage, registration: &registration };
    let verity = store.seal(&nix, &directory.join(IMAGE))?;
    let record = Record { tree, initrd_modules, kernel_version, verity };
    let path = directory.join(RECORD);
    let text = serde_json::to_vec_pretty(&record);
    let text = text.map_err(|error| unfit("the record", &path, error.to_string()))?;
    fs::write(&path, text).map_err(file("write", &path))
}

/// Computes the store path of what stands at `path` and renames it to that within its directory.
pub(crate) fn place(nix: &TreePrograms, name: &str, path: &Path) -> Result<StorePath, Error> {
    let store_path = nix.describe(name, path)?;
    let target = path.with_file_name(base_name(&store_path));
    fs::rename(path, &target).map_err(file("rename", path))?;
    Ok(store_path)
}

fn base_name(path: &StorePath) -> &str {
    path.path.rsplit('/').next().unwrap_or_default()
}

/// Removes what earlier lists of packages left: most of a gigabyte each.
fn remove_older(cache: &Path, kept: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(cache).map_err(file("list", cache))? {
        let path = entry.map_err(file("list", cache))?.path();
        let platform =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"platform-"));
        if platform && path != kept {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a directory whose content may be sealed.
pub(crate) fn remove(directory: &Path) -> Result<(), Error> {
    fn unseal(directory: &Path) -> std::io::Result<()> {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                unseal(&entry.path())?;
            }
        }
        Ok(())
    }
    if !directory.exists() {
        return Ok(());
    }
    unseal(directory).map_err(file("unseal", directory))?;
    fs::remove_dir_all(directory).map_err(file("remove", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_platform_stays_in_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        for name in ["platform-old/stage/sealed", "platform-new", "installed-1"] {
            fs::create_dir_all(cache.path().join(name)).unwrap();
        }
        let sealed = cache.path().join("platform-old/stage/sealed");
        fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
        remove_older(cache.path(), &cache.path().join("platform-new")).unwrap();
        let left = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["installed-1", "platform-new"]);
    }
}
