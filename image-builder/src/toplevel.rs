//! The system that a medium installs, built in advance by the Nix of the workstation.
//!
//! The repository is taken as it will be once the installer has enrolled the host, so that the
//! machine's own build comes to the same store path and finds it valid. Its closure goes onto the
//! medium, but for what the platform's images hold anyway, with its registration.

mod contents;
mod enrolled;
mod layout;
mod secrets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_document as document;
use bedplate_model::host::{HostFile, Platform};
use bedplate_tools::command::CommandError;
use bedplate_tools::nix::Workstation;
use bedplate_tools::nix::registration::{self, StorePath};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::answers::Repository;
use crate::error::{Error, file, tool, unfit};
use crate::platform;
use crate::system_image::Store;
use crate::tree_nix::TreePrograms;
use crate::verity_image::Verity;

pub use enrolled::Hardware;
pub use layout::lay_out;

/// What is known of an image in the cache.
const RECORD: &str = "verity.json";
const IMAGE: &str = "toplevel.erofs";
/// How directories of the cache begin.
const PREFIX: &str = "toplevel-";
/// Raised when the code that makes the image changes what it makes.
const FORMAT: &str = "2";

/// What is to be built in advance.
#[derive(Debug, Clone)]
pub struct InAdvance {
    /// Whose Nix builds it.
    pub workstation: Workstation,
    /// The text of `hardware.json`, made from the machine's inventory; without it, what the
    /// repository has.
    pub hardware: Option<String>,
}

/// A store path that the medium carries anyway, and where it stands on the workstation.
#[derive(Debug, Clone)]
pub struct Supplied {
    /// Its name without the hash.
    pub name: String,
    /// Store path, `/nix/store/HASH-NAME`, that it has on the medium.
    pub path: String,
    /// Its content.
    pub place: PathBuf,
}

/// A system that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its store path.
    pub toplevel: String,
    /// What goes onto the medium beside the platform's paths.
    pub carried: Vec<StorePath>,
    /// What does not, because it refers to the repository as a whole: the machine makes it anew.
    pub left_out: Vec<String>,
    /// Where its `hardware.json` comes from.
    pub hardware: Hardware,
}

impl Built {
    /// What it takes in a store beside the platform, by the sizes Nix is told, in bytes.
    pub fn bytes(&self) -> u64 {
        self.carried.iter().fold(0, |sum, path| sum.saturating_add(path.size))
    }
}

impl InAdvance {
    /// Refuses a workstation without Nix. Nothing is written.
    pub fn check(&self) -> Result<(), Error> {
        self.workstation.version().map(drop).map_err(|source| match source {
            CommandError::Start { .. } => Error::NoNix { source },
            source => tool("ask Nix for its version")(source),
        })
    }

    /// Builds the system of `document` from `repository` with the host enrolled. `supplied` is
    /// what the medium carries of the embedded platform anyway.
    pub fn build(
        &self,
        document: &str,
        repository: &Repository,
        supplied: &[Supplied],
    ) -> Result<Built, Error> {
        let nix = &self.workstation;
        let host = document::parse(document, "host.toml").map_err(|problems| {
            unfit("the document", Path::new("host.toml"), format!("is not valid\n{problems}"))
        })?;
        let work = tempfile::tempdir();
        let work = work.map_err(file("make a directory in", &std::env::temp_dir()))?;
        let place = work.path().join("enrolled");
        let hardware =
            enrolled::put(repository, &host, document, self.hardware.as_deref(), &place)?;
        secrets::refuse_local_inputs(&place)?;
        secrets::refuse_plain(&host, &place)?;
        // Nothing of the live system comes into a store of NixOS.
        let supplied = match host.host.platform {
            Platform::Embedded => supplied,
            Platform::Nixos => &[],
        };
        self.supply(supplied)?;
        let flake = format!("git+file://{}", in_url(&place));
        let sources = nix.sources(&flake).map_err(tool("fetch the inputs of the flake"))?;
        let reference = format!("{flake}#{}", attribute(&host));
        let toplevel = nix.build(&reference).map_err(tool("build the system in advance"))?;
        if registration::name(&toplevel).is_none() {
            let why = format!("the build gave no single store path: {toplevel}");
            return Err(unfit("the flake", &place, why));
        }
        // Inputs are what evaluating it once more wants.
        let roots: Vec<String> = [toplevel.clone()].into_iter().chain(sources.inputs).collect();
        let closure = nix.closure(&roots).map_err(tool("list what the system is made of"))?;
        let held: BTreeSet<&str> = supplied.iter().map(|one| one.path.as_str()).collect();
        let contents::Contents { carried, left_out } =
            contents::decide(closure, &sources.own, &held);
        let inputs = roots.get(1..).unwrap_or_default();
        secrets::refuse_keys(carried.iter().filter(|one| !inputs.contains(&one.path)), nix)?;
        Ok(Built { toplevel, carried, left_out, hardware })
    }

    /// Adds what only a medium has to the workstation's store.
    fn supply(&self, supplied: &[Supplied]) -> Result<(), Error> {
        for Supplied { name, path, place } in supplied {
            if self.workstation.is_valid(path) {
                continue;
            }
            let added = self.workstation.add(name, place);
            let added = added.map_err(tool("add the platform to the store of the workstation"))?;
            if added != *path {
                return Err(unfit("the platform's", place, format!("is {added}, not {path}")));
            }
        }
        Ok(())
    }
}

/// A path as it stands in a URL (RFC 3986, section 2.1).
fn in_url(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|byte| match *byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What the installer builds.
fn attribute(host: &HostFile) -> String {
    format!("nixosConfigurations.\"{}\".config.system.build.toplevel", host.host.name)
}

/// The image of what is carried, from the cache or made there.
pub(crate) fn image(
    built: &Built,
    workstation: &Workstation,
    programs: &TreePrograms,
    cache: &Path,
) -> Result<(PathBuf, Verity), Error> {
    let key = key(&built.carried);
    let directory = cache.join(format!("{PREFIX}{key}"));
    let record = directory.join(RECORD);
    let _held = platform::hold(cache)?;
    if !record.exists() {
        remove_all(cache)?;
        let staged = directory.with_extension("part");
        let stage = staged.join("stage");
        fs::create_dir_all(&stage).map_err(file("make", &stage))?;
        let registration = lay_out(built, workstation, &stage)?;
        let store = Store { name: &key, stage: &stage, registration: &registration };
        let verity = store.seal(programs, &staged.join(IMAGE))?;
        platform::remove(&stage)?;
        let text = serde_json::to_vec(&Record { verity });
        let text = text.map_err(|error| unfit("the record", &record, error.to_string()))?;
        let path = staged.join(RECORD);
        fs::write(&path, text).map_err(file("write", &path))?;
        fs::rename(&staged, &directory).map_err(file("rename", &staged))?;
    }
    let text = fs::read(&record).map_err(file("read", &record))?;
    let parsed = serde_json::from_slice::<Record>(&text);
    let parsed = parsed.map_err(|error| unfit("the record", &record, error.to_string()))?;
    Ok((directory.join(IMAGE), parsed.verity))
}

#[derive(Serialize, Deserialize)]
struct Record {
    verity: Verity,
}

/// A registration holds the hash of every content.
fn key(carried: &[StorePath]) -> String {
    let digest = Sha256::new().chain_update(FORMAT).chain_update(registration::text(carried));
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Only one is kept: a closure takes gigabytes.
fn remove_all(cache: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(cache).map_err(file("list", cache))? {
        let path = entry.map_err(file("list", cache))?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            platform::remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_a_path_with_strange_characters_is_one_path_in_a_url() {
        assert_eq!(in_url(Path::new("/tmp/a b#c?d%e")), "/tmp/a%20b%23c%3Fd%25e");
        assert_eq!(in_url(Path::new("/tmp/.x-1_2~")), "/tmp/.x-1_2~");
    }
}
