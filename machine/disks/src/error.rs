//! Why a disk is not written to.

use std::io;
use std::path::PathBuf;

/// Nothing was written to the disk.
#[derive(Debug, thiserror::Error)]
#[error("{disk} was not written to")]
pub struct ClaimError {
    /// The disk as its owner knows it.
    pub disk: String,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a disk that is not written to.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not there, or it cannot be opened.
    #[error("could not open {} for us alone", .path.display())]
    Open {
        /// The name that was opened.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What is open is no disk, or no such partition of it.
    #[error("{} is not {wanted}", .path.display())]
    Not {
        /// The name that was opened.
        path: PathBuf,
        /// What was to be opened.
        wanted: String,
    },
    /// Another disk, or one that somebody uses.
    #[error("it is not as planned: {}", .0.join("; "))]
    Changed(Vec<String>),
    /// The open device cannot be handed on.
    #[error("could not hand on what is open")]
    Lend(#[source] io::Error),
    /// No mapping of the name, or one over several devices.
    #[error("no volume of this name is open over one device")]
    NoVolume,
    /// A partition that does not come.
    #[error("{} did not appear within {seconds} s", .path.display())]
    NoPartition {
        /// The node that was waited for.
        path: PathBuf,
        /// For how long.
        seconds: u64,
    },
}
