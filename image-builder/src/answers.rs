//! What a medium is personalised with: `host.toml` and the repository to enrol into.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path};

use bedplate_document::rules;
use bedplate_formats::answers::{
    AREA_BYTES, AUTHORIZED_KEYS_FILE, BUNDLE_FILE, HEADER_BYTES, Header, PLATFORM_FILE,
};

use crate::build::document_text;
use crate::error::{Error, file, unfit};
use crate::owned::Owned;

pub use bedplate_formats::platform::DESCRIPTION;

const HOST: &str = "host.toml";
const FLAKE: &str = "flake";
/// No file of a repository to enrol into is larger.
const MAX_FILE: u64 = 8 << 20;
/// Directory of the platform's sources with the files of the repository's root.
const TEMPLATE: &str = "template";

/// The payload of the personalisation area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The text of `host.toml`.
    pub host: String,
    /// The repository to enrol into.
    pub repository: Repository,
}

/// The repository of the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repository {
    /// Files, which become the first commit: the medium's own.
    Files(Flake),
    /// The owner's, with its history.
    Owned(Owned),
}

/// Files of a repository by path, `/` between the parts.
pub type Flake = BTreeMap<String, Vec<u8>>;

/// The repository for a host of the embedded platform: what stands in `platform/template` at
/// its root, the rest of `platform` under `bedplate/`, and `description` as `platform.json`.
pub fn embedded_flake(platform: &Path, description: &str) -> Result<Flake, Error> {
    let mut flake = Flake::new();
    read_directory(platform, "bedplate/", &mut flake)?;
    let template = format!("bedplate/{TEMPLATE}/");
    let below = |path: &String| path.strip_prefix(&template).map(str::to_owned);
    let moved: Vec<(String, String)> =
        flake.keys().filter_map(|path| Some((path.clone(), below(path)?))).collect();
    for (from, to) in moved {
        let content = flake.remove(&from).unwrap_or_default();
        flake.insert(to, content);
    }
    for needed in ["flake.nix", "flake.lock"] {
        if !flake.contains_key(needed) {
            return Err(unfit("the platform in", platform, format!("lacks {TEMPLATE}/{needed}")));
        }
    }
    flake.insert(DESCRIPTION.to_owned(), description.as_bytes().to_vec());
    flake.entry("nix/hosts/.gitkeep".to_owned()).or_default();
    Ok(flake)
}

fn read_directory(directory: &Path, prefix: &str, flake: &mut Flake) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(file("list", directory))? {
        let path = entry.map_err(file("list", directory))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(unfit("the file", &path, "has a name that is not UTF-8"));
        };
        let kind = fs::symlink_metadata(&path).map_err(file("look at", &path))?.file_type();
        if kind.is_dir() {
            read_directory(&path, &format!("{prefix}{name}/"), flake)?;
        } else if kind.is_file() {
            let content = fs::read(&path).map_err(file("read", &path))?;
            flake.insert(format!("{prefix}{name}"), content);
        } else {
            return Err(unfit("the file", &path, "is neither file nor directory"));
        }
    }
    Ok(())
}

/// The repository as tar, below `flake/`; the same content gives the same bytes.
pub fn pack_flake(flake: &Flake) -> Result<Vec<u8>, Error> {
    pack(below_flake(flake))
}

/// Names and contents of a payload's files.
type Files<'a> = Vec<(String, &'a [u8])>;

fn below_flake(flake: &Flake) -> Files<'_> {
    flake.iter().map(|(path, content)| (format!("{FLAKE}/{path}"), content.as_slice())).collect()
}

impl Answers {
    /// As the payload of the personalisation area.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut files: Files<'_> = vec![(HOST.to_owned(), self.host.as_bytes())];
        match &self.repository {
            Repository::Files(flake) => files.extend(below_flake(flake)),
            Repository::Owned(Owned { bundle, description }) => {
                files.push((BUNDLE_FILE.to_owned(), bundle));
                let description = description.as_deref();
                files.extend(description.map(|text| (PLATFORM_FILE.to_owned(), text)));
            }
        }
        pack(files)
    }

    /// Reads a payload. Anything but plain files is refused.
    pub fn unpack(payload: &[u8]) -> Result<Self, Error> {
        let unpacked = unpack(payload)?;
        let host = unpacked.host;
        let host = host.ok_or_else(|| unfit("the answers", Path::new(HOST), "is missing"))?;
        let repository = match unpacked.bundle {
            Some(bundle) => Repository::Owned(Owned { bundle, description: unpacked.description }),
            None => Repository::Files(unpacked.flake),
        };
        Ok(Self { host, repository })
    }
}

/// A payload with ssh keys alone. A line that is no plain key is refused: what would come of its
/// options nobody has looked at.
pub fn pack_keys(keys: &str) -> Result<Vec<u8>, Error> {
    let place = Path::new(AUTHORIZED_KEYS_FILE);
    let lines = || keys.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines().filter(|line| !line.starts_with('#')).collect();
    if let Some((number, _)) =
        lines.iter().enumerate().find(|(_, line)| rules::ssh_key(line).is_err())
    {
        let why = format!("key {} is no plain OpenSSH public key", number + 1);
        return Err(unfit("the file of", place, why));
    }
    if lines.is_empty() {
        return Err(unfit("the file of", place, "holds no key"));
    }
    let text = lines.join("\n") + "\n";
    pack(vec![(AUTHORIZED_KEYS_FILE.to_owned(), text.as_bytes())])
}

/// The answers as they travel without a medium: the header of an area, and the payload.
pub fn for_travel(answers: &Answers) -> Result<Vec<u8>, Error> {
    let payload = answers.pack()?;
    let header = Header::for_payload(&payload, AREA_BYTES - HEADER_BYTES as u64)
        .map_err(|source| Error::Answers { path: HOST.into(), source })?;
    Ok([header.encode(), payload].concat())
}

fn pack(files: Files<'_>) -> Result<Vec<u8>, Error> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let added = builder.append_data(&mut header, &path, content);
        added.map_err(file("pack", Path::new(&path)))?;
    }
    builder.into_inner().map_err(file("pack", Path::new(FLAKE)))
}

/// What a payload holds.
#[derive(Default)]
struct Unpacked {
    host: Option<String>,
    flake: Flake,
    bundle: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
}

/// The files of a packed repository.
pub fn unpack_flake(packed: &[u8]) -> Result<Flake, Error> {
    Ok(unpack(packed)?.flake)
}

fn unpack(payload: &[u8]) -> Result<Unpacked, Error> {
    let mut unpacked = Unpacked::default();
    let whole = Path::new("the answers");
    let mut archive = tar::Archive::new(payload);
    for entry in archive.entries().map_err(file("read", whole))? {
        let mut entry = entry.map_err(file("read", whole))?;
        let path = entry.path().map_err(file("read", whole))?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let Some(name) = path.to_str().filter(|_| plain) else {
            return Err(unfit("the answers have a file named", &path, "it leaves its directory"));
        };
        let most = if name == BUNDLE_FILE { AREA_BYTES } else { MAX_FILE };
        if entry.header().entry_type() != tar::EntryType::Regular || entry.size() > most {
            return Err(unfit("the answers hold", &path, "it is not a file of a fair size"));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(file("read", &path))?;
        match (name, name.strip_prefix("flake/")) {
            (HOST, _) => {
                unpacked.host = Some(document_text(&content, &path)?);
            }
            (BUNDLE_FILE, _) => unpacked.bundle = Some(content),
            (PLATFORM_FILE, _) => unpacked.description = Some(content),
            (_, Some(name)) => drop(unpacked.flake.insert(name.to_owned(), content)),
            _ => return Err(unfit("the answers hold", &path, "it has no place there")),
        }
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        let flake = [("flake.nix", "{}"), ("nix/hosts/.gitkeep", "")];
        let flake = flake.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let repository = Repository::Files(flake.into());
        Answers { host: "schema = 1\n".to_owned(), repository }
    }

    #[test]
    fn answers_survive_the_round_trip_and_are_the_same_bytes_twice() {
        let packed = answers().pack().unwrap();
        assert_eq!(Answers::unpack(&packed).unwrap(), answers());
        assert_eq!(packed, answers().pack().unwrap());
        for description in [None, Some(b"{}".to_vec())] {
            let repository = Repository::Owned(Owned { bundle: vec![0, 255], description });
            let owned = Answers { repository, ..answers() };
            assert_eq!(Answers::unpack(&owned.pack().unwrap()).unwrap(), owned);
        }
    }

    #[test]
    fn t16_only_plain_keys_are_let_in() {
        let key = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA{} me@laptop", "x".repeat(42));
        assert!(pack_keys(&format!("# mine\n\n  {key}\n")).is_ok());
        for bad in ["", "# none\n", "ssh-ed25519 short", &format!("command=\"x\" {key}")] {
            assert!(pack_keys(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn t15_links_and_paths_that_leave_are_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "flake/x", "/etc/passwd").unwrap();
        assert!(Answers::unpack(&builder.into_inner().unwrap()).is_err());

        let mut packed = answers().pack().unwrap();
        // The name of the second entry, with its checksum made good again.
        let (start, name) = (1024, b"flake/../x");
        packed[start..start + 100].fill(0);
        packed[start..start + name.len()].copy_from_slice(name);
        packed[start + 148..start + 156].fill(b' ');
        let sum: u32 = packed[start..start + 512].iter().map(|byte| u32::from(*byte)).sum();
        packed[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = Answers::unpack(&packed).unwrap_err();
        assert!(error.to_string().contains(".."), "{error}");
    }

    #[test]
    fn the_repository_is_laid_out_around_the_platform() {
        let platform = tempfile::tempdir().unwrap();
        fs::create_dir(platform.path().join("template")).unwrap();
        fs::write(platform.path().join("default.nix"), "a").unwrap();
        assert!(embedded_flake(platform.path(), "{}").is_err());
        fs::write(platform.path().join("template/flake.nix"), "b").unwrap();
        fs::write(platform.path().join("template/flake.lock"), "c").unwrap();
        let flake = embedded_flake(platform.path(), "{}").unwrap();
        let paths: Vec<&str> = flake.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "bedplate/default.nix",
                "bedplate/platform.json",
                "flake.lock",
                "flake.nix",
                "nix/hosts/.gitkeep"
            ]
        );
    }
}
