//! What can go wrong.

use std::path::{Path, PathBuf};

use libcryptsetup_rs::LibcryptErr;

use crate::log;

/// An operation on an encrypted or verified volume that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LuksError {
    /// libcryptsetup refused.
    #[error("{}could not {operation}{detail}", place(.subject))]
    Operation {
        /// What was attempted.
        operation: &'static str,
        /// The device, file or mapping.
        subject: PathBuf,
        /// What libcryptsetup said about it, with a leading separator; often empty.
        detail: String,
        /// What libcryptsetup returned.
        #[source]
        source: LibcryptErr,
    },
    /// The key does not open the volume.
    #[error("{}the key does not fit", place(.device))]
    WrongKey {
        /// The device.
        device: PathBuf,
    },
    /// A key without a single byte.
    #[error("{}the key is empty", place(.device))]
    EmptyKey {
        /// The device.
        device: PathBuf,
    },
    /// There is nothing to seal.
    #[error("{}the header carries no token of type bedplate", place(.device))]
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
    #[error("{}could not {operation}", place(.path))]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said when a header was made, read or flushed.
        #[source]
        source: std::io::Error,
    },
}

/// A path before what befell it. A descriptor that was lent says nothing to anybody: whoever lent it knows
/// the disk, and names it.
fn place(path: &Path) -> String {
    if path.starts_with("/proc") { String::new() } else { format!("{}: ", path.display()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_and_a_descriptor_is_not() {
        let wrong = |path: &str| LuksError::WrongKey { device: path.into() }.to_string();
        assert_eq!(wrong("/dev/sda1"), "/dev/sda1: the key does not fit");
        assert_eq!(wrong("/proc/304/fd/6"), "the key does not fit");
    }
}
