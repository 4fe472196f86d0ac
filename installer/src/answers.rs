//! The answers: `host.toml` and the repository, out of the medium's personalisation area or as
//! they were sent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bedplate_formats::answers::{
    AREA_BYTES, AUTHORIZED_KEYS_FILE, AnswersError, BUNDLE_FILE, HEADER_BYTES, Header,
    PLATFORM_FILE,
};

/// Answers as they were found.
#[derive(Debug)]
pub struct Answers {
    /// `host.toml`, verbatim.
    pub host_toml: String,
    /// The repository to enrol into; none when the answers bring none.
    pub repository: Option<Repository>,
}

/// What a payload holds.
#[derive(Debug)]
pub enum Payload {
    /// What to install.
    Answers(Answers),
    /// Lines of public ssh keys: whoever holds one of them says what to install.
    Keys(String),
}

/// The repository to enrol into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repository {
    /// A directory of files, which become the first commit.
    Files(PathBuf),
    /// The owner's, as a git bundle.
    Bundle {
        /// The bundle.
        file: PathBuf,
        /// What the host's commit writes to `bedplate/platform.json`; none leaves it as it is.
        platform: Option<Vec<u8>>,
    },
}

/// Answers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The area could not be read.
    #[error("could not read the answers in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said when it was read.
        #[source]
        source: io::Error,
    },
    /// The area is not what it should be.
    #[error("the answers in {path} cannot be used")]
    Area {
        /// The file.
        path: PathBuf,
        /// What is wrong with its header or its checksum.
        #[source]
        source: AnswersError,
    },
    /// The medium carries no answers.
    #[error("the medium carries no answers; write some with `bedplate personalize`")]
    Empty,
}

/// Reads the area of the booted medium, mounted at `medium`, and unpacks it below `directory`.
pub fn find(medium: &Path, directory: &Path) -> Result<Payload, FindError> {
    read(&medium.join(bedplate_formats::answers::ANSWERS_FILE), directory)
}

/// Reads one area and unpacks its payload below `directory`.
pub fn read(path: &Path, directory: &Path) -> Result<Payload, FindError> {
    let unreadable = |source| FindError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    receive(&mut file, path, directory)
}

/// Reads header and payload from `input`, named `path` in errors, and unpacks the payload below
/// `directory`. What comes after them is left.
pub fn receive(input: &mut impl Read, path: &Path, directory: &Path) -> Result<Payload, FindError> {
    let unreadable = |source| FindError::Read { path: path.to_owned(), source };
    let unusable = |source| FindError::Area { path: path.to_owned(), source };
    let mut header = vec![0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(unreadable)?;
    let header = Header::decode(&header).map_err(unusable)?;
    if header.length > AREA_BYTES {
        let (length, capacity) = (header.length, AREA_BYTES);
        return Err(unusable(AnswersError::TooLarge { length, capacity }));
    }
    if header.is_empty() {
        return Err(FindError::Empty);
    }
    let mut payload = Vec::new();
    input.take(header.length).read_to_end(&mut payload).map_err(unreadable)?;
    header.check(&payload).map_err(unusable)?;
    fs::create_dir_all(directory).map_err(unreadable)?;
    // `unpack` refuses entries that leave the directory.
    tar::Archive::new(payload.as_slice()).unpack(directory).map_err(unreadable)?;
    unpacked(directory).map_err(unreadable)
}

/// What lies unpacked in `directory`.
pub fn unpacked(directory: &Path) -> io::Result<Payload> {
    if let Some(document) = plain(directory, "host.toml")? {
        let bytes = fs::read(document)?;
        // Which encoding it is in, or where it goes wrong, is said as `bedplate check` says it.
        let text = bedplate_document::text(&bytes, "host.toml");
        let text = text.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        let host_toml = text.to_owned();
        return Ok(Payload::Answers(Answers { host_toml, repository: repository(directory)? }));
    }
    match plain(directory, AUTHORIZED_KEYS_FILE)? {
        Some(keys) => Ok(Payload::Keys(fs::read_to_string(keys)?)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The repository among the answers that lie unpacked in `directory`.
pub fn repository(directory: &Path) -> io::Result<Option<Repository>> {
    if let Some(file) = plain(directory, BUNDLE_FILE)? {
        let platform = plain(directory, PLATFORM_FILE)?.map(fs::read).transpose()?;
        return Ok(Some(Repository::Bundle { file, platform }));
    }
    let flake = directory.join("flake");
    Ok(flake.is_dir().then_some(Repository::Files(flake)))
}

/// The plain file of this name, when there is one: a link could lead to any file of the live
/// system.
fn plain(directory: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let path = directory.join(name);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(found) if found.is_file() => Ok(Some(path)),
        Ok(_) => Err(io::Error::other(format!("{name} is no plain file"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn area(payload: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let header = Header::for_payload(payload, 1 << 20).unwrap();
        file.write_all(&header.encode()).unwrap();
        file.write_all(payload).unwrap();
        file
    }

    fn answers(path: &Path, directory: &Path) -> Answers {
        match read(path, directory).unwrap() {
            Payload::Answers(answers) => answers,
            Payload::Keys(keys) => panic!("keys alone: {keys}"),
        }
    }

    fn archive() -> Vec<u8> {
        packed(&[("host.toml", "schema = 1\n"), ("flake/flake.nix", "{ }\n")])
    }

    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn host_toml_comes_verbatim_and_the_flake_is_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let answers = answers(area(&archive()).path(), directory.path());
        assert_eq!(answers.host_toml, "schema = 1\n");
        let Some(Repository::Files(flake)) = answers.repository else { panic!("no files") };
        assert_eq!(fs::read_to_string(flake.join("flake.nix")).unwrap(), "{ }\n");
    }

    #[test]
    fn the_owners_repository_comes_as_a_bundle_and_what_it_is_told_of_the_platform() {
        for (platform, files) in [(None, 2), (Some(b"{}".to_vec()), 3)] {
            let directory = tempfile::tempdir().unwrap();
            let all = [("host.toml", "x"), ("flake.bundle", "y"), ("platform.json", "{}")];
            let answers = answers(area(&packed(&all[..files])).path(), directory.path());
            let file = directory.path().join("flake.bundle");
            assert_eq!(answers.repository, Some(Repository::Bundle { file, platform }));
        }
    }

    #[test]
    fn a_medium_with_keys_alone_says_whom_it_waits_for() {
        let directory = tempfile::tempdir().unwrap();
        let payload = packed(&[("authorized_keys", "ssh-ed25519 AAAA\n")]);
        let Payload::Keys(keys) = read(area(&payload).path(), directory.path()).unwrap() else {
            panic!("answers")
        };
        assert_eq!(keys, "ssh-ed25519 AAAA\n");
    }

    #[test]
    fn t13_what_is_sent_is_no_longer_than_an_area_and_what_follows_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let lying = Header { length: AREA_BYTES + 1, capacity: u64::MAX, sha256: [0; 32] }.encode();
        let sent = &mut lying.as_slice();
        let error = receive(sent, Path::new("what was sent"), directory.path()).unwrap_err();
        assert!(matches!(error, FindError::Area { source: AnswersError::TooLarge { .. }, .. }));
        let mut sent = fs::read(area(&archive()).path()).unwrap();
        sent.extend(b"after");
        let rest = &mut sent.as_slice();
        receive(rest, Path::new("what was sent"), directory.path()).unwrap();
        assert_eq!(*rest, b"after");
    }

    #[test]
    fn f7_damaged_and_absent_answers_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(area(b"").path(), directory.path()), Err(FindError::Empty)));
        let damaged = area(&archive());
        let mut bytes = fs::read(damaged.path()).unwrap();
        bytes[HEADER_BYTES + 600] ^= 1;
        fs::write(damaged.path(), bytes).unwrap();
        let error = read(damaged.path(), directory.path()).unwrap_err();
        assert!(matches!(error, FindError::Area { source: AnswersError::Payload, .. }), "{error}");
    }

    #[test]
    fn t15_answers_that_lead_out_of_their_directory_are_refused() {
        let entry = |path: &[u8], link: Option<&str>| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
            header.set_mode(0o644);
            header.set_size(0);
            if let Some(target) = link {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
            }
            header.set_cksum();
            builder.append(&header, std::io::empty()).unwrap();
            builder.into_inner().unwrap()
        };
        let top = tempfile::tempdir().unwrap();
        let secret = top.path().join("secret");
        fs::write(&secret, "schema = 1").unwrap();
        for (path, link) in [
            (&b"../evil"[..], None),
            (b"flake/../../evil", None),
            (b"host.toml", Some(secret.to_str().unwrap())),
        ] {
            let answers = read(area(&entry(path, link)).path(), &top.path().join("answers"));
            assert!(answers.is_err(), "{path:?}");
            assert!(!top.path().join("evil").exists(), "{path:?}");
        }
    }

    #[test]
    fn t13_a_crafted_archive_is_refused_or_read_but_never_panics() {
        let good = archive();
        for position in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[position] ^= 0xff;
            let directory = tempfile::tempdir().unwrap();
            drop(read(area(&bad).path(), directory.path()));
            drop(read(area(&good[..position]).path(), directory.path()));
        }
    }

    #[test]
    fn t14_a_document_in_utf_16_is_told_as_that() {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = "schema = 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(directory.path().join("host.toml"), bytes).unwrap();
        let error = unpacked(directory.path()).unwrap_err().to_string();
        assert!(error.contains("UTF-16"), "{error}");
    }
}
