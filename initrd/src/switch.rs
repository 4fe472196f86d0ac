//! Leaving the initrd for good.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use bedplate_tools::mount;

use crate::console::Console;
use crate::early::{MOUNTS, make_directory};
use crate::error::Error;

/// Makes `root` the root and becomes `init`.
pub(crate) fn switch(root: &Path, init: &str, console: &Console) -> Result<Infallible, Error> {
    console.say(&format!("starting {init}"));
    for (_, target, _) in MOUNTS {
        let inside = root.join(target.trim_start_matches('/'));
        make_directory(&inside)?;
        mount::move_mount(Path::new(target), &inside)?;
    }
    rustix::process::chdir(root).map_err(Error::kernel("enter the new root"))?;
    empty_initrd(root);
    mount::move_mount(Path::new("."), Path::new("/"))?;
    rustix::process::chroot(".").map_err(Error::kernel("change the root"))?;
    rustix::process::chdir("/").map_err(Error::kernel("enter the new root"))?;
    if !Path::new(init).exists() {
        return Err(Error::NoInit { path: init.to_owned() });
    }
    let source = Command::new(init).env_remove(crate::NO_UDEV).exec();
    Err(Error::file("start", Path::new(init), source))
}

/// Gives the initrd's memory back. Stays on its file system, so that nothing mounted is touched.
fn empty_initrd(root: &Path) {
    let Ok(device) = fs::metadata("/").map(|metadata| metadata.dev()) else { return };
    if fs::metadata(root).is_ok_and(|metadata| metadata.dev() != device) {
        remove_below(Path::new("/"), device);
    }
}

fn remove_below(directory: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // What cannot be removed costs memory, nothing else.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.dev() != device => {}
            Ok(metadata) if metadata.is_dir() => {
                remove_below(&path, device);
                let _ = fs::remove_dir(&path);
            }
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
}
