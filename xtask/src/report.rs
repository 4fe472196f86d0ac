//! What can go wrong in a chore, and how it is told.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A chore that could not be finished.
#[derive(Debug)]
pub enum Problem {
    /// A program could not be started.
    Start(String, io::Error),
    /// A program ended with a status other than 0.
    Failed(String, ExitStatus),
    /// Packages are missing and cannot be installed from here.
    MissingPackages(Vec<String>),
    /// Packages are missing, and nobody has said that they may be installed.
    NotAgreed(Vec<String>),
    /// No story has this name; those that there are.
    NoStory(Vec<String>),
    /// A directory could not be read or made.
    Directory(PathBuf, io::Error),
    /// No fuzz target has this name; those that there are.
    NoTarget(Vec<String>),
    /// There is no nixpkgs to read.
    NoNixpkgs,
    /// nixpkgs does not keep to what is taken for granted.
    Contract(Vec<String>),
    /// So many things that are taken for granted of NixOS are not so.
    NotProven(u32),
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(line, source) => write!(formatter, "could not run `{line}`: {source}"),
            Self::Failed(line, status) => write!(formatter, "`{line}` ended with {status}"),
            Self::MissingPackages(names) => write!(
                formatter,
                "these Debian packages are missing and could not be installed from here. Run as root:\n  \
                 apt-get install --no-install-recommends {}",
                names.join(" ")
            ),
            Self::NotAgreed(names) => write!(
                formatter,
                "these Debian packages are missing: {}\n  --yes installs them; nobody could be asked, or the answer was no",
                names.join(" ")
            ),
            Self::NoStory(names) => {
                write!(formatter, "there is no such story; there are {}", names.join(", "))
            }
            Self::Directory(path, source) => {
                write!(formatter, "could not read or make {}: {source}", path.display())
            }
            Self::NoNixpkgs => formatter.write_str(
                "there is no nixpkgs to read: set NIXPKGS to the directory of a checkout",
            ),
            Self::Contract(broken) => write!(
                formatter,
                "the NixOS module does not fit this nixpkgs, and nothing was written:\n  {}",
                broken.join("\n  ")
            ),
            Self::NotProven(faults) => {
                write!(formatter, "{faults} of what is taken for granted of NixOS is not so")
            }
            Self::NoTarget(names) => {
                write!(formatter, "there is no such target; there are {}", names.join(", "))
            }
        }
    }
}
