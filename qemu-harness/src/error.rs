//! What can go wrong around a machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_tools::command::CommandError;

/// A machine that could not be made, started or talked to, or that did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file or directory.
    #[error("{action} {path}", path = path.display())]
    File {
        /// What was tried, as a phrase that the path completes: `could not write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An external program.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A socket or child process of a running machine.
    #[error("machine {machine}: {action}")]
    Link {
        /// Name of the machine.
        machine: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// QMP answered with an error, or with something else than expected.
    #[error("QMP `{command}`: {answer}")]
    Qmp {
        /// The command.
        command: String,
        /// What came back.
        answer: String,
    },
    /// Something did not happen in time.
    #[error("machine {machine}: waited {}s for {what}; the end of its serial log:\n{tail}", waited.as_secs())]
    TimedOut {
        /// Name of the machine.
        machine: String,
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines of the serial log.
        tail: String,
    },
    /// The machine ended before what was waited for.
    #[error("machine {machine} ended while waiting for {what}; the end of its serial log:\n{tail}")]
    Ended {
        /// Name of the machine.
        machine: String,
        /// What was waited for.
        what: String,
        /// The last lines of the serial log.
        tail: String,
    },
    /// A request that the guest should have sent did not come.
    #[error("no request for {path} within {}s", waited.as_secs())]
    NoRequest {
        /// Path waited for.
        path: String,
        /// How long.
        waited: Duration,
    },
    /// Something about the inputs is not as needed.
    #[error("{0}")]
    Unfit(String),
}

/// Attaches action and path to an error of the file system.
pub(crate) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> HarnessError {
    let path = path.to_owned();
    move |source| HarnessError::File { action, path, source }
}
