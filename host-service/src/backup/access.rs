//! What opens a repository: its password, in memory, and what its server wants, in files on tmpfs
//! that are gone when it is dropped.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_model::host::Backup;
use bedplate_tools::restic::{Access, Restic};
use bedplate_tools::secret::Secret;
use tempfile::TempDir;

use super::key::{self, KeyError};
use bedplate_resources::context::Context;

/// restic keeps here what it need not fetch again.
const CACHE: &str = "/var/cache/restic";

/// A repository that cannot be opened for want of something on this machine.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The password.
    #[error("the password of the repository could not be read")]
    Password(#[source] KeyError),
    /// The credentials.
    #[error("the credentials of the repository could not be read")]
    Credentials(#[source] KeyError),
    /// The credentials.
    #[error("the credentials of the repository are not {0}")]
    Form(&'static str),
    /// A file on tmpfs.
    #[error("could not write {}", .path.display())]
    File {
        /// The file of credentials, or the directory that it was to be made in.
        path: PathBuf,
        /// What the kernel said when it was made or written.
        #[source]
        source: io::Error,
    },
}

/// Everything that opens a repository.
#[derive(Debug)]
pub struct Opener {
    program: PathBuf,
    repository: String,
    password: Secret,
    access: Access,
    cache: PathBuf,
    /// Holds the files of `access`.
    _place: Option<TempDir>,
}

/// A file that [`Access`] names, before it is written.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: &'static str,
    content: Secret,
}

impl Opener {
    /// Reads password and credentials of `backup`.
    pub fn read(context: &Context, backup: &Backup) -> Result<Self, AccessError> {
        let password = key::read(context, &backup.password).map_err(AccessError::Password)?;
        let credentials = backup.credentials.as_ref();
        let credentials = credentials.map(|reference| key::read(context, reference)).transpose();
        let credentials = credentials.map_err(AccessError::Credentials)?;
        Self::new("restic".into(), backup, password, credentials.as_ref(), &context.runtime)
    }

    /// As [`Opener::read`], with what was read. The files stand below `runtime`.
    pub fn new(
        program: PathBuf,
        backup: &Backup,
        password: Secret,
        credentials: Option<&Secret>,
        runtime: &Path,
    ) -> Result<Self, AccessError> {
        let repository = backup.repository.clone();
        let (access, place) = match credentials {
            None => (Access::Open, None),
            Some(credentials) => {
                let failed = |source| AccessError::File { path: runtime.to_owned(), source };
                fs::create_dir_all(runtime).map_err(failed)?;
                let place = tempfile::Builder::new()
                    .prefix("repository-")
                    .permissions(Permissions::from_mode(0o700))
                    .tempdir_in(runtime)
                    .map_err(failed)?;
                let host_key = backup.host_key.as_deref().unwrap_or_default();
                let files = files(&repository, credentials, host_key)?;
                for file in &files {
                    write(&place.path().join(file.name), &file.content)?;
                }
                (access(&repository, place.path()), Some(place))
            }
        };
        Ok(Self { program, repository, password, access, cache: CACHE.into(), _place: place })
    }

    /// With a cache elsewhere.
    #[must_use]
    pub fn with_cache(self, cache: PathBuf) -> Self {
        Self { cache, ..self }
    }

    /// The repository.
    pub fn restic(&self) -> Restic<'_> {
        Restic {
            program: &self.program,
            repository: &self.repository,
            password: &self.password,
            access: &self.access,
            cache: self.cache.clone(),
        }
    }
}

const ADDRESS: &str = "address";
const CLOUD: &str = "credentials";
const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";

fn access(repository: &str, place: &Path) -> Access {
    if repository.starts_with("rest:") {
        Access::AddressFile(place.join(ADDRESS))
    } else if repository.starts_with("sftp:") {
        let (identity, known_hosts) = (place.join(IDENTITY), place.join(KNOWN_HOSTS));
        Access::Ssh { identity, known_hosts }
    } else {
        Access::CloudFile(place.join(CLOUD))
    }
}

fn files(
    repository: &str,
    credentials: &Secret,
    host_key: &str,
) -> Result<Vec<Wanted>, AccessError> {
    if let Some(address) = repository.strip_prefix("rest:") {
        let (scheme, rest) =
            address.split_once("://").ok_or(AccessError::Form("for an http address"))?;
        let (name, password) = pair(credentials, "a line `name:password`")?;
        let head = format!("rest:{scheme}://");
        let parts: [&[u8]; 6] =
            [head.as_bytes(), &encoded(name), b":", &encoded(password), b"@", rest.as_bytes()];
        return Ok(vec![Wanted { name: ADDRESS, content: Secret::new(parts.concat()) }]);
    }
    if let Some(server) = repository.strip_prefix("sftp:") {
        let key = credentials.expose();
        if !key.starts_with(b"-----BEGIN ") {
            return Err(AccessError::Form("a private ssh key"));
        }
        // ssh wants the end of the last line.
        let key = Secret::new([key.trim_ascii_end(), b"\n"].concat());
        let known = format!("{} {host_key}\n", known_as(server));
        return Ok(vec![
            Wanted { name: IDENTITY, content: key },
            Wanted { name: KNOWN_HOSTS, content: Secret::new(known.into_bytes()) },
        ]);
    }
    let (id, secret) = pair(credentials, "a line `id:secret`")?;
    let parts: [&[u8]; 5] =
        [b"[default]\naws_access_key_id = ", id, b"\naws_secret_access_key = ", secret, b"\n"];
    Ok(vec![Wanted { name: CLOUD, content: Secret::new(parts.concat()) }])
}

/// One line of printable characters with a colon in it.
fn pair<'a>(
    credentials: &'a Secret,
    form: &'static str,
) -> Result<(&'a [u8], &'a [u8]), AccessError> {
    let line = credentials.expose().trim_ascii();
    let plain = line.iter().all(u8::is_ascii_graphic);
    let colon = line.iter().position(|byte| *byte == b':').filter(|_| plain);
    let parts = colon.and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?)));
    parts.filter(|(one, other)| !one.is_empty() && !other.is_empty()).ok_or(AccessError::Form(form))
}

/// Percent-encoded, for the part of an address before the `@`.
fn encoded(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().fold(Vec::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend(format!("%{byte:02X}").into_bytes());
        }
        text
    })
}

/// What ssh calls the machine of `me@host:/path` or `//me@host:port//path` in known_hosts.
fn known_as(server: &str) -> String {
    let (authority, with_port) = match server.strip_prefix("//") {
        Some(rest) => (rest.split('/').next().unwrap_or_default(), true),
        None => (server.split(':').next().unwrap_or_default(), false),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.split_once(':').filter(|_| with_port) {
        Some((host, port)) if port != "22" => format!("[{host}]:{port}"),
        Some((host, _)) => host.to_owned(),
        None => host.to_owned(),
    }
}

fn write(path: &Path, content: &Secret) -> Result<(), AccessError> {
    let failed = |source| AccessError::File { path: path.to_owned(), source };
    // Nobody can look before the mode is set: the directory is root's alone.
    fs::write(path, content.expose()).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;

    fn backup(repository: &str) -> Backup {
        let mut backup = sample::intent().backups.remove("apps").unwrap();
        backup.repository = repository.to_owned();
        backup.host_key = Some("ssh-ed25519 AAAA".into());
        backup
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    /// Mode and content of each file that opens `repository`.
    fn written(repository: &str, credentials: &str) -> Vec<(u32, String)> {
        let runtime = tempfile::tempdir().unwrap();
        let opener = Opener::new(
            "restic".into(),
            &backup(repository),
            secret("pw"),
            Some(&secret(credentials)),
            runtime.path(),
        );
        let opener = opener.unwrap();
        let place = fs::read_dir(runtime.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let mut names: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|one| one.unwrap().path()).collect();
        names.sort();
        let read = |path: &PathBuf| {
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            (mode, fs::read_to_string(path).unwrap())
        };
        let found = names.iter().map(read).collect();
        drop(opener);
        assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0, "t24: files stay");
        found
    }

    #[test]
    fn t19_credentials_stand_in_files_for_root_that_go_with_their_use() {
        let rest = written("rest:https://backup.example.org:8000/hv/", "hv:p@ss/w%\n");
        let address = "rest:https://hv:p%40ss%2Fw%25@backup.example.org:8000/hv/";
        assert_eq!(rest, [(0o600, address.to_owned())]);
        let cloud = written("s3:https://s3.example.org/bucket", "AKIA1:se:cret");
        let text = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = se:cret\n";
        assert_eq!(cloud, [(0o600, text.to_owned())]);
        let ssh = written("sftp:me@nas:/srv/restic", "-----BEGIN OPENSSH PRIVATE KEY-----\nx");
        assert_eq!(ssh[0], (0o600, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n".to_owned()));
        assert_eq!(ssh[1], (0o600, "nas ssh-ed25519 AAAA\n".to_owned()));
    }

    #[test]
    fn credentials_of_another_form_are_refused_and_not_shown() {
        for (repository, credentials) in [
            ("rest:https://a/", "canary"),
            ("rest:https://a/", "canary:"),
            ("s3:https://a/b", "a:b\nrole_arn = canary"),
            ("sftp:me@nas:/srv", "canary"),
        ] {
            let error = files(repository, &secret(credentials), "ssh-ed25519 AAAA").unwrap_err();
            assert!(matches!(error, AccessError::Form(_)), "{error:?}");
            assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn a_machine_is_known_as_ssh_knows_it() {
        for (server, name) in [
            ("me@nas:/srv/restic", "nas"),
            ("nas:srv", "nas"),
            ("//me@nas:2222//srv", "[nas]:2222"),
            ("//nas:22/srv", "nas"),
        ] {
            assert_eq!(known_as(server), name);
        }
    }
}
