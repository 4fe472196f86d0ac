//! `host.toml` as it is read on the machine: in this one place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_document as document;
use bedplate_model::host::HostFile;
use bedplate_model::name::Role;
use bedplate_resources::context::Context;
use bedplate_tools::mounts::Mounts;
use uuid::Uuid;

/// What is mounted, by the kernel.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The intent could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// A file could not be read.
    #[error("could not read {}", .path.display())]
    Read {
        /// The `host.toml`, or the list of mounts that is read with it.
        path: PathBuf,
        /// What the kernel said when the file was read.
        #[source]
        source: io::Error,
    },
    /// The document has mistakes.
    #[error("{} has mistakes:\n{problems}", .path.display())]
    Document {
        /// The `host.toml` that has the mistakes.
        path: PathBuf,
        /// All of them.
        problems: String,
    },
}

/// Reads the intent from `path`.
pub fn read(path: &Path) -> Result<HostFile, IntentError> {
    read_with_text(path).map(|(host, _)| host)
}

/// As [`read`], with the text as it stands.
pub fn read_with_text(path: &Path) -> Result<(HostFile, String), IntentError> {
    let bytes =
        fs::read(path).map_err(|source| IntentError::Read { path: path.to_owned(), source })?;
    let text = document::text(&bytes, "host.toml");
    let read = text.and_then(|text| Ok((document::parse(text, "host.toml")?, text.to_owned())));
    read.map_err(|problems| IntentError::Document {
        path: path.to_owned(),
        problems: problems.to_string(),
    })
}

/// `host.id` and `os.disk` of a document that this version may not understand; none when they cannot be had.
pub fn os_volume(path: &Path) -> Option<(Uuid, Role)> {
    document::os_volume(&fs::read_to_string(path).ok()?)
}

/// The intent from `host_file`, the mounts of this machine and the directories that are worked in.
pub fn context(host_file: &Path) -> Result<Context, IntentError> {
    let intent = read(host_file)?;
    let mounts = fs::read_to_string(MOUNTS)
        .map_err(|source| IntentError::Read { path: MOUNTS.into(), source })?;
    Ok(Context {
        intent,
        mounts: Mounts::parse(&mounts),
        configuration: "/etc".into(),
        runtime: "/run/bedplate".into(),
        state: "/var/lib/bedplate".into(),
    })
}
