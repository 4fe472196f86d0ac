//! Asks one thing after the other.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::LibvirtError;
use crate::address::Address;
use crate::state::State;
use crate::wire::{self, Answer, Handle, LENGTH_BYTES, Procedure};

/// How long an answer may take: the daemon starts when it is first spoken to.
const PATIENCE: Duration = Duration::from_secs(120);

/// An open connection.
pub(crate) struct Connection {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    serial: u32,
}

impl Connection {
    /// Connects, and opens the driver.
    pub(crate) fn open(address: &Address) -> Result<Self, LibvirtError> {
        let there = address.sockets.iter().find(|socket| socket.exists());
        let socket = there
            .ok_or_else(|| LibvirtError::NobodyThere { tried: address.sockets.clone() })?
            .clone();
        let stream = UnixStream::connect(&socket)
            .and_then(|stream| stream.set_read_timeout(Some(PATIENCE)).map(|()| stream))
            .and_then(|stream| stream.set_write_timeout(Some(PATIENCE)).map(|()| stream))
            .map_err(|source| LibvirtError::Socket { socket: socket.clone(), source })?;
        let mut connection = Self { socket, stream: BufReader::new(stream), serial: 0 };
        connection.log_in()?;
        let arguments = wire::open_arguments(&address.name);
        connection.ask("open its driver", Procedure::ConnectOpen, &arguments)?;
        Ok(connection)
    }

    /// The daemon lets root in without more, once it was asked how.
    fn log_in(&mut self) -> Result<(), LibvirtError> {
        let what = "say how to log in";
        let ways = self.ask(what, Procedure::AuthList, &[])?;
        let free =
            wire::needs_no_login(&ways).map_err(|source| LibvirtError::Wire { what, source })?;
        if free { Ok(()) } else { Err(LibvirtError::Login { socket: self.socket.clone() }) }
    }

    /// The domains that `flags` choose.
    pub(crate) fn listed(&mut self, flags: u32) -> Result<Vec<Handle>, LibvirtError> {
        let what = "list its domains";
        let arguments = wire::list_arguments(flags);
        let result = self.ask(what, Procedure::ConnectListAllDomains, &arguments)?;
        wire::listed(&result).map_err(|source| LibvirtError::Wire { what, source })
    }

    /// XML of a domain; none when libvirt has none to give.
    pub(crate) fn definition(
        &mut self,
        domain: &Handle,
        flags: u32,
    ) -> Result<Option<String>, LibvirtError> {
        let what = "describe a domain";
        let arguments = wire::xml_arguments(domain, flags);
        match self.ask(what, Procedure::DomainGetXmlDesc, &arguments) {
            Ok(result) => {
                wire::xml(&result).map(Some).map_err(|source| LibvirtError::Wire { what, source })
            }
            Err(LibvirtError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How a domain stands; unknown when it has gone.
    pub(crate) fn state(&mut self, domain: &Handle) -> Result<State, LibvirtError> {
        let what = "say how a domain stands";
        match self.ask(what, Procedure::DomainGetState, &wire::state_arguments(domain)) {
            Ok(result) => wire::state(&result)
                .map(|(state, reason)| State::of(state, reason))
                .map_err(|source| LibvirtError::Wire { what, source }),
            Err(LibvirtError::Refused { .. }) => Ok(State::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Says goodbye: the daemon logs whoever just goes.
    pub(crate) fn close(mut self) -> Result<(), LibvirtError> {
        self.ask("close the connection", Procedure::ConnectClose, &[]).map(drop)
    }

    fn ask(
        &mut self,
        what: &'static str,
        procedure: Procedure,
        arguments: &[u8],
    ) -> Result<Vec<u8>, LibvirtError> {
        self.serial += 1;
        let call = wire::call(procedure, self.serial, arguments);
        let sent = self.stream.get_mut().write_all(&call);
        sent.map_err(|source| self.broken(source))?;
        loop {
            let message = self.message(what)?;
            let answer = wire::answer(&message, self.serial);
            match answer.map_err(|source| LibvirtError::Wire { what, source })? {
                Answer::Result(result) => return Ok(result),
                Answer::Refused(message) => return Err(LibvirtError::Refused { what, message }),
                Answer::Unasked => {}
            }
        }
    }

    fn message(&mut self, what: &'static str) -> Result<Vec<u8>, LibvirtError> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length).map_err(|source| self.broken(source))?;
        let rest =
            wire::rest_of_message(length).map_err(|source| LibvirtError::Wire { what, source })?;
        let mut message = vec![0; rest];
        self.stream.read_exact(&mut message).map_err(|source| self.broken(source))?;
        Ok(message)
    }

    fn broken(&self, source: io::Error) -> LibvirtError {
        LibvirtError::Socket { socket: self.socket.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// What comes of a daemon that sends these bytes whatever it is asked, and goes.
    fn told(bytes: &'static [u8]) -> LibvirtError {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("libvirt-sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut call = [0; 28];
            client.read_exact(&mut call).unwrap();
            client.write_all(bytes).unwrap();
        });
        let address = Address { sockets: vec![socket], name: "test:///default".into() };
        let error = Connection::open(&address).err().unwrap();
        daemon.join().unwrap();
        error
    }

    #[test]
    fn whoever_is_not_libvirt_is_an_error_and_never_awaited() {
        assert!(matches!(told(b""), LibvirtError::Socket { .. }));
        assert!(matches!(told(b"HTTP/1.1 400 Bad Request"), LibvirtError::Wire { .. }));
    }

    #[test]
    fn where_nobody_listens_it_says_what_to_look_at() {
        let address = Address { sockets: vec!["/nowhere/a".into()], name: String::new() };
        let error = Connection::open(&address).err().unwrap();
        assert_eq!(
            error.to_string(),
            "no libvirt listens at /nowhere/a; `systemctl status libvirtd.socket` says why"
        );
    }
}
