//! What can stop a boot, and what the person in front of the machine can do about it.

use std::path::{Path, PathBuf};

use bedplate_keystick::StickError;
use bedplate_luks::LuksError;
use bedplate_tools::mount::MountError;

/// A step that failed for good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, directory or device.
    #[error("could not {operation} {}", .path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A LUKS volume or verified image.
    #[error(transparent)]
    Luks(#[from] LuksError),
    /// The description of what to bring up.
    #[error("{} is not what this program understands", bedplate_formats::boot::BOOT_FILE)]
    Boot(#[source] serde_json::Error),
    /// A key stick.
    #[error(transparent)]
    Stick(#[from] StickError),
    /// A call to the kernel.
    #[error("the kernel refused to {operation}")]
    Kernel {
        operation: &'static str,
        #[source]
        source: rustix::io::Errno,
    },
    /// The new root has nothing to start.
    #[error("the new root has no {path}")]
    NoInit { path: String },
}

impl Error {
    pub(crate) fn file(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { operation, path: path.to_owned(), source }
    }

    pub(crate) fn kernel(operation: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Kernel { operation, source }
    }

    /// Whether trying again gives the same.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Stick(error) => error.is_lasting(),
            Self::Luks(error) => error.is_wrong_key(),
            Self::File { .. } | Self::Mount(_) | Self::Kernel { .. } => false,
            Self::Boot(_) | Self::NoInit { .. } => true,
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Luks(_) | Self::Mount(_) | Self::Stick(_) => {
                "Check the disk and the stick; write the medium anew if it is the medium."
            }
            Self::Boot(_) | Self::Kernel { .. } | Self::File { .. } => {
                "Boot an older entry of the menu, or write the medium anew."
            }
            Self::NoInit { .. } => "Boot an older entry of the menu: this one is incomplete.",
        }
    }
}
