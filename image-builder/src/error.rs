//! What can fail while a medium is made or personalised.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_formats::answers::AnswersError;
use bedplate_tools::command::CommandError;

/// A medium could not be made, read or personalised.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A tool failed.
    #[error("could not {action}")]
    Tool {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: CommandError,
    },
    /// The workstation has no Nix.
    #[error(
        "building the system in advance (`--with-closure`) wants Nix, and this machine has none: \
         install it (`apt install nix-bin`, or nixos.org/download), or leave the option out; the \
         machine then builds its system itself"
    )]
    NoNix {
        /// How that was seen.
        #[source]
        source: CommandError,
    },
    /// Something found is not as it must be.
    #[error("{what} {}: {why}", path.display())]
    Unfit {
        /// What kind of thing it is.
        what: &'static str,
        /// Where it stands.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The personalisation area of a medium cannot be used.
    #[error("the personalisation area of {} cannot be used", path.display())]
    Answers {
        /// The medium.
        path: PathBuf,
        /// What is wrong with the area: its header, its checksum, or how much fits.
        #[source]
        source: AnswersError,
    },
}

/// For `map_err` on operations on files.
pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { action, path: path.to_owned(), source }
}

/// For `map_err` on running tools.
pub(crate) fn tool(action: &'static str) -> impl FnOnce(CommandError) -> Error {
    move |source| Error::Tool { action, source }
}

/// Something that is not as it must be.
pub(crate) fn unfit(what: &'static str, path: &Path, why: impl Into<String>) -> Error {
    Error::Unfit { what, path: path.to_owned(), why: why.into() }
}
