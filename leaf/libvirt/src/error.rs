//! What can go wrong.

use std::io;
use std::path::PathBuf;

use crate::wire::WireError;

/// A libvirt that could not be looked at. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
pub enum LibvirtError {
    /// The URI.
    #[error("`{0}` names no libvirt of this machine; `qemu:///system` does")]
    Uri(String),
    /// No socket.
    #[error(
        "no libvirt listens at {}; `systemctl status libvirtd.socket` says why",
        .tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    NobodyThere {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The socket.
    #[error("libvirt at {} could not be spoken to", .socket.display())]
    Socket {
        /// Path of the socket that libvirt is spoken to over.
        socket: PathBuf,
        /// What the kernel said when it was connected to, read or written.
        #[source]
        source: io::Error,
    },
    /// Not root, and polkit or SASL are in between.
    #[error("libvirt at {} wants a login; root needs none", .socket.display())]
    Login {
        /// Path of the socket whose daemon wants it.
        socket: PathBuf,
    },
    /// libvirt said no.
    #[error("libvirt refused to {what}: {message}")]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// What it said.
        message: String,
    },
    /// Not its protocol.
    #[error("libvirt's answer when asked to {what} was not understood")]
    Wire {
        /// What it was asked.
        what: &'static str,
        /// Where the answer departs from the protocol.
        #[source]
        source: WireError,
    },
}
