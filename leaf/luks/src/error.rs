//! What can go wrong.

use std::path::{Path, PathBuf};

use libcryptsetup_rs::LibcryptErr;

use crate::log;

/// An operation on an encrypted or verified volume that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LuksError {
    /// libcryptsetup refused.
    #[error("{}: could not {operation}{detail}", .subject.display())]
    Operation {
        /// What was attempted.
        operation: &'static str,
        /// The device, file or mapping.
        subject: PathBuf,
        /// What libcryptsetup said about it, with a leading separator; often empty.
        detail: String,
        /// Why.
        #[source]
        source: LibcryptErr,
    },
    /// The key does not open the volume.
    #[error("{}: the key does not fit", .device.display())]
    WrongKey {
        /// The device.
        device: PathBuf,
    },
    /// A key without a single byte.
    #[error("{}: the key is empty", .device.display())]
    EmptyKey {
        /// The device.
        device: PathBuf,
    },
    /// There is nothing to seal.
    #[error("{}: the header carries no token of type bedplate", .device.display())]
    NoToken {
        /// The device.
        device: PathBuf,
    },
    /// A root hash that is not hexadecimal.
    #[error("`{text}` is not a root hash in hexadecimal")]
    RootHash {
        /// The text.
        text: String,
    },
    /// A plain file could not be made or flushed.
    #[error("{}: could not {operation}", .path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl LuksError {
    /// Whether the key is at fault, and not the device.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::WrongKey { .. } | Self::EmptyKey { .. })
    }

    /// Turns libcryptsetup's error into ours, with what it logged meanwhile.
    pub(crate) fn operation(
        operation: &'static str,
        subject: &Path,
    ) -> impl FnOnce(LibcryptErr) -> Self {
        move |source| {
            let said = log::take();
            let detail = if said.is_empty() { String::new() } else { format!(": {said}") };
            Self::Operation { operation, subject: subject.to_owned(), detail, source }
        }
    }
}

/// Whether libcryptsetup returned this errno.
pub(crate) fn is_errno(error: &LibcryptErr, kind: std::io::ErrorKind) -> bool {
    matches!(error, LibcryptErr::IOError(source) if source.kind() == kind)
}
