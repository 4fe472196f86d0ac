//! Tests of backups with the restic of the platform's tree, on file systems of their own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::cargo;
use crate::report::Problem;

/// What media are made of, and what is fetched once.
pub const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bedplate-cache");
/// Names of both programs stand here, and of nothing else of the tree: its other programs are of
/// another system.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/restic");
/// The tests.
const TESTS: &str = "backup::tests::";
/// The one that wants restic's own server.
const WITH_SERVER: &str = "append_only";
/// That server.
const SERVER: &str = "restic-rest-server";

/// The command that runs them; without one it says what they lack. `cache` is where a tree with restic is,
/// as a rule [`CACHE`].
pub fn command(cache: &Path, has_loop_devices: bool) -> Result<Option<Command>, Problem> {
    let Some(restic) = restic(cache).filter(|_| has_loop_devices && has_btrfs()) else {
        eprintln!(
            "xtask: not root, or no loop device, btrfs or restic: backups on real file systems were NOT tested"
        );
        return Ok(None);
    };
    let server = Path::new(CACHE).join("vault/usr/bin").join(SERVER);
    let has_server = server.is_file();
    programs(&restic, &server).map_err(|error| Problem::Directory(PROGRAMS.into(), error))?;
    let mut command = cargo();
    command.args(["test", "--locked", "--quiet", "--workspace", "--lib", TESTS]);
    command.args(["--", "--ignored", "--test-threads=1"]).env("PATH", path());
    if !has_server {
        eprintln!("xtask: no {SERVER}: an append-only repository was NOT tested");
        command.args(["--skip", WITH_SERVER]);
    }
    Ok(Some(command))
}

/// The restic of the newest tree in the cache.
fn restic(cache: &Path) -> Option<PathBuf> {
    let stores = directories(cache).map(|platform| platform.join("stage/nix/store"));
    let paths = stores.flat_map(|store| directories(&store).collect::<Vec<_>>());
    let trees = paths.filter(|path| path.to_string_lossy().ends_with("-bedplate-tree"));
    let made = |path: &PathBuf| path.metadata().and_then(|found| found.modified()).ok();
    let found = trees.map(|tree| tree.join("usr/bin/restic")).filter(|path| path.is_file());
    found.max_by_key(made)
}

fn directories(parent: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn programs(restic: &Path, server: &Path) -> io::Result<()> {
    match fs::remove_dir_all(PROGRAMS) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(PROGRAMS)?;
    symlink(fs::canonicalize(restic)?, Path::new(PROGRAMS).join("restic"))?;
    if server.is_file() {
        symlink(fs::canonicalize(server)?, Path::new(PROGRAMS).join(SERVER))?;
    }
    Ok(())
}

fn path() -> OsString {
    let mut path = OsString::from(PROGRAMS);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// Whether a btrfs can be made and mounted; its module may not be loaded yet.
pub fn has_btrfs() -> bool {
    let runs = |program: &str, word: &str| {
        let said = Command::new(program).arg(word).output();
        said.is_ok_and(|said| said.status.success())
    };
    let is_known = || {
        let text = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        text.lines().any(|line| line.trim() == "btrfs")
    };
    runs("mkfs.btrfs", "--version") && (is_known() || runs("modprobe", "btrfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restic_of_a_tree_is_found_and_no_other() {
        let cache = std::env::temp_dir().join(format!("bedplate-restic-{}", std::process::id()));
        let store = cache.join("0a/stage/nix/store");
        let made = store.join("1b-bedplate-tree/usr/bin");
        for directory in [&made, &store.join("2c-bedplate-runtime/usr/bin")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("restic"), "").unwrap();
        }
        assert_eq!(restic(&cache), Some(made.join("restic")));
        fs::remove_file(made.join("restic")).unwrap();
        assert_eq!(restic(&cache), None);
        fs::remove_dir_all(&cache).unwrap();
    }
}
