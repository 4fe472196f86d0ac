//! The repository as it will be once the installer has enrolled the host, as far as a system is
//! built from it. The machine's ssh key and recipient are not known yet.

use std::fs;
use std::path::Path;

use bedplate_model::hardware;
use bedplate_model::host::HostFile;
use bedplate_tools::git::{Git, Reader, Transport};

use crate::answers::{DESCRIPTION, Repository};
use crate::error::{Error, file, tool, unfit};
use crate::owned::Owned;

/// What hands `host.toml` to the platform, where the host has none: as the installer writes it.
const CONFIGURATION: &str = include_str!("../../../nix/host/configuration.nix");

/// Where the `hardware.json` that a system is built with comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// The machine's inventory: the file that the installer will write.
    Inventory,
    /// The repository: the installer replaces it by what it finds.
    Repository,
    /// There is none.
    Absent,
}

/// Puts it at `place`, its files staged.
pub fn put(
    repository: &Repository,
    host: &HostFile,
    document: &str,
    described: Option<&str>,
    place: &Path,
) -> Result<Hardware, Error> {
    fs::create_dir_all(place).map_err(file("make", place))?;
    let git = Git::new(place, "bedplate", "bedplate@workstation");
    match repository {
        Repository::Owned(owned) => clone(&git, owned, place)?,
        Repository::Files(files) => {
            git.init("main").map_err(tool("make a repository"))?;
            for (path, content) in files {
                write(place, path, content)?;
            }
        }
    }
    let directory = format!("{}/{}", host.flake.hosts, host.host.name);
    let below = |name: &str| format!("{directory}/{name}");
    write(place, &below("host.toml"), document.as_bytes())?;
    // The owner's may say more than ours.
    if fs::symlink_metadata(place.join(below("configuration.nix"))).is_err() {
        write(place, &below("configuration.nix"), CONFIGURATION.as_bytes())?;
    }
    let found = below(hardware::FILE);
    let source = match described {
        Some(text) => {
            write(place, &found, text.as_bytes())?;
            Hardware::Inventory
        }
        None if place.join(&found).is_file() => Hardware::Repository,
        None => Hardware::Absent,
    };
    // Nix sees of a repository what git knows.
    git.add(".").map_err(tool("stage the host's directory"))?;
    Ok(source)
}

fn clone(git: &Git, owned: &Owned, place: &Path) -> Result<(), Error> {
    let bundle = place.with_extension("bundle");
    fs::write(&bundle, &owned.bundle).map_err(file("write", &bundle))?;
    let branches = Reader::branches_of_bundle(&bundle);
    let branches = branches.map_err(tool("look at the bundle of the repository"))?;
    let [(branch, _)] = branches.as_slice() else {
        return Err(unfit("the bundle", &bundle, "holds not one branch"));
    };
    git.init(branch).map_err(tool("make a repository"))?;
    let fetched = git.fetch(bundle.as_os_str(), branch, &Transport::File);
    fetched.map_err(tool("clone the repository"))?;
    git.check_out().map_err(tool("check the repository out"))?;
    if let Some(description) = &owned.description {
        write(place, DESCRIPTION, description)?;
    }
    Ok(())
}

/// Writes a file of the repository. Links in its way were refused when the repository was looked
/// at; one in its own place is replaced, as the installer does.
fn write(place: &Path, path: &str, content: &[u8]) -> Result<(), Error> {
    let path = place.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(file("make", parent))?;
    }
    let _ = fs::remove_file(&path);
    fs::write(&path, content).map_err(file("write", &path))
}
