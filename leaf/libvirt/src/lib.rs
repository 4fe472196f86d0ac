//! Looks at all domains of libvirt at once, over its socket.
//!
//! Architecture invariant: nothing here changes anything; libvirt is told by `virsh`. Six
//! procedures of its protocol are spoken, of the many there are: starting programs and linking
//! libvirt both cost more than they give (`docs/decisions/0019-looking-at-libvirt.md`). Definitions are
//! read by [`xml`].

mod address;
mod connection;
mod error;
mod state;
pub mod wire;
pub mod xml;

use address::Address;
use connection::Connection;
pub use error::LibvirtError;
pub use state::{Off, Paused, State};

/// A domain with its definitions, as they were a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Domain {
    /// Name that it has in libvirt, where no other has it.
    pub name: String,
    /// Whether it runs, or is paused.
    pub running: bool,
    /// How it stands, and why.
    pub state: State,
    /// Whether its memory is saved where libvirt keeps it: it goes on from there at its next start.
    pub managed_save: bool,
    /// Whether libvirt starts it at boot.
    pub autostart: bool,
    /// XML of what counts from the next start on; none when it has gone since, or has no such.
    pub persistent: Option<String>,
    /// XML of what it was started with, where it runs.
    pub live: Option<String>,
}

/// All domains of the libvirt at `uri`: `qemu:///system`, or with a socket of its own
/// `test+unix:///default?socket=/run/…`.
///
/// # Errors
///
/// When nobody listens there, wants a login, or does not answer as libvirt's protocol says. A
/// domain that goes while it is looked at is no error.
pub fn domains(uri: &str) -> Result<Vec<Domain>, LibvirtError> {
    let mut connection = Connection::open(&Address::parse(uri)?)?;
    let autostarted = connection.listed(wire::LIST_AUTOSTART)?;
    let saved = connection.listed(wire::LIST_MANAGED_SAVE)?;
    let mut found = Vec::new();
    for one in connection.listed(wire::LIST_ALL)? {
        let running = one.id >= 0;
        found.push(Domain {
            running,
            state: connection.state(&one)?,
            managed_save: saved.iter().any(|other| other.uuid == one.uuid),
            autostart: autostarted.iter().any(|other| other.uuid == one.uuid),
            persistent: connection.definition(&one, wire::XML_INACTIVE)?,
            live: if running { connection.definition(&one, wire::XML_LIVE)? } else { None },
            name: one.name,
        });
    }
    connection.close()?;
    Ok(found)
}
