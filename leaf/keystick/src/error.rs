//! What can be wrong with a key stick.

use std::io;
use std::path::PathBuf;

use bedplate_tools::mount::MountError;

/// A key stick that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StickError {
    /// A path that could lead out of the stick.
    #[error("`{path}` is no plain path inside a key stick")]
    Path {
        /// The path.
        path: String,
    },
    /// There is no such file.
    #[error("the key stick has no file `{path}`")]
    Missing {
        /// Path that was looked for, relative to the root of the stick.
        path: String,
    },
    /// The file cannot be what it should be.
    #[error("`{path}` on the key stick is {what}")]
    Unusable {
        /// Path of the file, relative to the root of the stick.
        path: String,
        /// What it is instead.
        what: &'static str,
    },
    /// A file could not be read or written.
    #[error("could not {action} `{}` on the key stick", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// Path of the file or directory on the stick.
        path: PathBuf,
        /// What the kernel said when the file was opened, read or written.
        #[source]
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("the key stick gave back something else for `{path}`: use another stick")]
    ReadBack {
        /// Which file.
        path: String,
    },
    /// The volume as a whole.
    #[error("could not {action}")]
    Volume {
        /// What was attempted.
        action: &'static str,
        /// What the kernel said of the volume, or of where it is mounted.
        #[source]
        source: io::Error,
    },
    /// The kernel would not mount its volume, damaged or pulled out as a rule.
    #[error("the key stick cannot be mounted")]
    Mount(#[from] MountError),
    /// The kernel gave no random numbers.
    #[error("the kernel has no randomness")]
    Random(#[source] getrandom::Error),
}

impl StickError {
    /// Whether trying again gives the same: what stands on the stick is read, and is not what it should
    /// be. Where it could not be read, the stick may not be ready yet.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Path { .. }
            | Self::Missing { .. }
            | Self::Unusable { .. }
            | Self::ReadBack { .. } => true,
            Self::File { .. } | Self::Volume { .. } | Self::Mount(_) | Self::Random(_) => false,
        }
    }

    pub(crate) fn volume(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Volume { action, source }
    }

    pub(crate) fn file(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = PathBuf::from(path);
        move |source| Self::File { action, path, source }
    }
}
