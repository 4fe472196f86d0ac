//! Secrets that programs read from files: `/run/bedplate/secrets/NAME`, in memory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bedplate_engine::StepFailure;
use bedplate_model::host::SecretFile;
use bedplate_tools::secret::Secret;
use rustix::fs::{Gid, Uid, fchown, fstatfs};

use super::SecretError;
use bedplate_platform::activation::accounts::Databases;

/// Below `/run/bedplate`.
const DIRECTORY: &str = "secrets";
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` (linux/magic.h).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A file that holds no secret, or not for the right reader.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The secret itself.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody of that name.
    #[error("there is no {what} `{name}` on this machine")]
    Nobody {
        /// `user` or `group`.
        what: &'static str,
        /// Name of the account or group in `host.toml`.
        name: String,
    },
    /// The accounts.
    #[error("the accounts of this machine could not be read")]
    Accounts(#[source] bedplate_platform::activation::ActivationError),
    /// A disk remembers.
    #[error("{} does not lie in memory: no secret is written there", .0.display())]
    OnDisk(PathBuf),
    /// The file could not be written, or one that is no longer wanted not removed.
    #[error("could not write {}", .path.display())]
    Write {
        /// Path of the file, below the runtime directory.
        path: PathBuf,
        /// What the kernel said when it was made, written, given away or removed.
        #[source]
        source: io::Error,
    },
}

impl StepFailure for FileError {}

/// Whom a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    user: u32,
    group: u32,
    mode: u32,
}

impl Access {
    /// The owner alone may read; with a group, it may too.
    pub fn of(file: &SecretFile, configuration: &Path) -> Result<Self, FileError> {
        let accounts = Databases::read(configuration).map_err(FileError::Accounts)?;
        let nobody = |what, name: &str| FileError::Nobody { what, name: name.to_owned() };
        let account = match file.owner.as_str() {
            "root" => Some((0, 0)),
            name => accounts.user(name),
        };
        let (user, own) = account.ok_or_else(|| nobody("user", &file.owner))?;
        let Some(name) = &file.group else { return Ok(Self { user, group: own, mode: 0o400 }) };
        let group = accounts.group(name).ok_or_else(|| nobody("group", name))?;
        Ok(Self { user, group, mode: 0o440 })
    }
}

/// Where the files are.
pub fn directory(runtime: &Path) -> PathBuf {
    runtime.join(DIRECTORY)
}

/// Whether the file holds this secret for these readers.
pub fn agrees(path: &Path, secret: &Secret, access: Access) -> bool {
    let found = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
    let same = |found: fs::Metadata| {
        (found.uid(), found.gid(), found.mode() & 0o7777)
            == (access.user, access.group, access.mode)
    };
    found.is_some_and(same)
        && fs::read(path).map(Secret::new).is_ok_and(|held| held.expose() == secret.expose())
}

/// Writes the file as a whole: whoever reads sees the old secret or the new one. It is nobody
/// else's for a moment.
pub fn write(path: &Path, secret: &Secret, access: Access) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let kind =
        File::open(directory).and_then(|place| Ok(fstatfs(&place)?.f_type)).map_err(failed)?;
    if !IN_MEMORY.contains(&u64::try_from(kind).unwrap_or_default()) {
        return Err(FileError::OnDisk(directory.to_owned()));
    }
    let write = || -> io::Result<()> {
        // The names may be seen, what is in the files is its owners'.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(directory)?;
        file.write_all(secret.expose())?;
        let (user, group) = (Uid::from_raw(access.user), Gid::from_raw(access.group));
        fchown(file.as_file(), Some(user), Some(group))?;
        file.as_file().set_permissions(fs::Permissions::from_mode(access.mode))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(failed)
}

/// Removes the file of a secret that is no longer declared, or no longer opens.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
