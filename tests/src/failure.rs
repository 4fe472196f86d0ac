//! Why a story could not be told to its end.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_qemu_harness::HarnessError;

/// A story that stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The machine or what is around it.
    #[error("the machine did not do as expected")]
    Harness(#[from] HarnessError),
    /// The medium.
    #[error("the medium could not be made")]
    Medium(#[from] bedplate_image_builder::Error),
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or directory that it was tried on.
        path: PathBuf,
        /// What the kernel said when it was made, read, written, copied or removed.
        #[source]
        source: io::Error,
    },
    /// Nothing is seen to be wrong, but it took too long.
    #[error("{0}")]
    TimedOut(String),
    /// Something else.
    #[error("{0}")]
    Unfit(String),
}

pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { action, path, source }
}

impl Failure {
    /// The failure and its causes, one a line.
    pub fn chain(&self) -> String {
        bedplate_events::cause::texts(self).join("\n  because: ")
    }
}
