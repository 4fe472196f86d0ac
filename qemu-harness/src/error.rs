//! What can go wrong around a machine.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandError;

use crate::pace::Spent;

/// A machine that could not be made, started or talked to, or that did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file or directory.
    #[error("{action} {path}", path = path.display())]
    File {
        /// What was tried, as a phrase that the path completes: `could not write`.
        action: &'static str,
        /// Path of the file or directory, which ends the phrase.
        path: PathBuf,
        /// What the kernel said when an image, a log or a directory was made, read or removed.
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
        /// What the kernel said of the socket or the process.
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
    #[error(
        "machine {machine}: {spent}, waiting for {what}; last seen: {}; the end of its serial log:\n{tail}",
        last_line(tail)
    )]
    TimedOut {
        /// Name of the machine.
        machine: String,
        /// What was waited for.
        what: String,
        /// How long, and whether it got on.
        spent: Spent,
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
    #[error("{spent}, waiting for {what}; last seen: {seen}")]
    NoRequest {
        /// What was waited for.
        what: String,
        /// How long, and whether there was any progress.
        spent: Spent,
        /// The request that came last.
        seen: String,
    },
    /// Nobody could log in.
    #[error("{spent}, waiting for ssh on port {port}; last seen: {seen}")]
    NoLogin {
        /// Port of 127.0.0.1.
        port: u16,
        /// How long, and whether the machine got on.
        spent: Spent,
        /// What ssh said last.
        seen: String,
    },
    /// Something about the inputs is not as needed.
    #[error("{0}")]
    Unfit(String),
}

impl HarnessError {
    /// Whether nothing is wrong but that it took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::NoRequest { .. } | Self::NoLogin { .. })
    }
}

fn last_line(tail: &str) -> &str {
    let line = tail.lines().rfind(|line| !line.trim().is_empty());
    line.map_or("nothing on the console", str::trim)
}

/// Attaches action and path to an error of the file system.
pub(crate) fn file_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> HarnessError {
    let path = path.to_owned();
    move |source| HarnessError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_timed_out_says_so_and_what_was_seen_last() {
        let error = HarnessError::TimedOut {
            machine: "host".into(),
            what: "`login:`".into(),
            spent: Spent { waited: Duration::from_secs(90), still: Duration::from_secs(80) },
            tail: "Booting\n[ 12.3] hrtimer: interrupt took 9749790 ns\n\n".into(),
        };
        let said = error.to_string();
        assert!(
            said.starts_with(
                "machine host: timed out after 90 s, the last 80 without any progress, waiting for \
             `login:`; last seen: [ 12.3] hrtimer: interrupt took 9749790 ns;"
            ),
            "{said}"
        );
        assert!(error.is_timeout());
    }
}
