//! The server: every disk of a machine from one process, over one socket.
//!
//! Requests of all disks take turns, so that the order of the log is the order of what was done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::FallocateFlags;

use super::log::{Kind, Writer};
use super::protocol::{self, Request, command, invalid, option, reply};
use crate::error::{HarnessError, file_error};
use crate::machine::{Disk, Format};

/// A server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    exports: Vec<Export>,
    log: Mutex<Writer>,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct Export {
    name: String,
    size: u64,
    file: File,
}

impl Server {
    /// Serves the images of `disks` (raw, made by [`crate::disk_image::create`]) on `socket`, and
    /// notes what is written in the file `log`. A disk's place in the log is its place here.
    pub fn start(socket: &Path, disks: &[Disk], log: &Path) -> Result<Self, HarnessError> {
        let export = |disk: &Disk| {
            let file = OpenOptions::new().read(true).write(true).open(&disk.file);
            let file = file.map_err(file_error("could not open", &disk.file))?;
            Ok(Export { name: disk.role.clone(), size: disk.size, file })
        };
        let exports = disks.iter().map(export).collect::<Result<_, HarnessError>>()?;
        let writer = Writer::create(log).map_err(file_error("could not write", log))?;
        let shared =
            Arc::new(Shared { exports, log: Mutex::new(writer), stopped: AtomicBool::new(false) });
        let listener = UnixListener::bind(socket).map_err(file_error("could not bind", socket))?;
        let serving = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &serving));
        Ok(Self { socket: socket.to_owned(), shared, acceptor: Some(acceptor) })
    }

    /// The disk as a machine attaches it when it comes from here.
    pub fn attach(&self, disk: &Disk) -> Disk {
        Disk { file: self.socket.clone(), format: Format::Nbd, ..disk.clone() }
    }

    /// How many entries the log has so far.
    pub fn position(&self) -> usize {
        self.shared.log().entries()
    }

    /// Ends the server; the log is complete afterwards.
    pub fn stop(mut self) -> Result<(), HarnessError> {
        self.end();
        let written = self.shared.log().flush();
        written.map_err(file_error("could not write the log of", &self.socket))
    }

    fn end(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor; when nobody listens any more there is nothing to wake.
        UnixStream::connect(&self.socket).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn log(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A client that breaks off, as one does whose power is cut, is no failure of the server.
        thread::spawn(move || serve(&mut stream, &shared));
    }
}

fn serve(stream: &mut UnixStream, shared: &Shared) -> io::Result<()> {
    let Some(disk) = negotiate(stream, shared)? else { return Ok(()) };
    let mut data = Vec::new();
    while let Some(request) = Request::read(stream)? {
        if request.command == command::DISCONNECT {
            return Ok(());
        }
        data.clear();
        if request.command == command::WRITE {
            if request.length > protocol::MAX_REQUEST {
                return Err(invalid("a write that is too large"));
            }
            data.resize(request.length as usize, 0);
            stream.read_exact(&mut data)?;
        }
        let result = perform(shared, disk, &request, &mut data);
        let read = if request.command == command::READ { data.as_slice() } else { &[] };
        match result {
            Ok(()) => protocol::answer(stream, request.cookie, 0, read)?,
            Err(error) => protocol::answer(stream, request.cookie, error, &[])?,
        }
    }
    Ok(())
}

/// Fixed newstyle negotiation; the index of the export the client goes on with.
fn negotiate(stream: &mut UnixStream, shared: &Shared) -> io::Result<Option<u16>> {
    let mut greeting = protocol::NBDMAGIC.to_be_bytes().to_vec();
    greeting.extend(protocol::IHAVEOPT.to_be_bytes());
    greeting.extend(protocol::HANDSHAKE_FLAGS.to_be_bytes());
    stream.write_all(&greeting)?;
    let client_flags = protocol::u32_of(stream)?;
    loop {
        if protocol::u64_of(stream)? != protocol::IHAVEOPT {
            return Err(invalid("an option without its magic number"));
        }
        let (kind, length) = (protocol::u32_of(stream)?, protocol::u32_of(stream)?);
        if length > 1 << 16 {
            return Err(invalid("an option that is too long"));
        }
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        match kind {
            option::EXPORT_NAME => {
                let Some((index, export)) = find(shared, &data) else { return Ok(None) };
                let mut message = export.size.to_be_bytes().to_vec();
                message.extend(protocol::TRANSMISSION_FLAGS.to_be_bytes());
                if client_flags & protocol::CLIENT_NO_ZEROES == 0 {
                    message.extend([0; 124]);
                }
                stream.write_all(&message)?;
                return Ok(Some(index));
            }
            option::GO => match find(shared, name_of(&data)) {
                None => protocol::answer_option(stream, kind, reply::UNKNOWN_EXPORT, &[])?,
                Some((index, export)) => {
                    let information = protocol::export_information(export.size);
                    protocol::answer_option(stream, kind, reply::INFO, &information)?;
                    let blocks = protocol::block_information();
                    protocol::answer_option(stream, kind, reply::INFO, &blocks)?;
                    protocol::answer_option(stream, kind, reply::ACK, &[])?;
                    return Ok(Some(index));
                }
            },
            option::ABORT => {
                protocol::answer_option(stream, kind, reply::ACK, &[])?;
                return Ok(None);
            }
            _ => protocol::answer_option(stream, kind, reply::UNSUPPORTED, &[])?,
        }
    }
}

/// The name in the data of `NBD_OPT_GO`: its length in 32 bits, then the name.
fn name_of(data: &[u8]) -> &[u8] {
    let Some((length, rest)) = data.split_first_chunk() else { return &[] };
    rest.get(..u32::from_be_bytes(*length) as usize).unwrap_or_default()
}

fn find<'a>(shared: &'a Shared, name: &[u8]) -> Option<(u16, &'a Export)> {
    let index = shared.exports.iter().position(|export| export.name.as_bytes() == name)?;
    Some((u16::try_from(index).ok()?, shared.exports.get(index)?))
}

/// Does what is asked and notes it; an error is the number the client is told.
fn perform(shared: &Shared, disk: u16, request: &Request, data: &mut Vec<u8>) -> Result<(), u32> {
    let export = shared.exports.get(usize::from(disk)).ok_or(protocol::EINVAL)?;
    let Request { offset, length, .. } = *request;
    let end = offset.checked_add(u64::from(length)).ok_or(protocol::EINVAL)?;
    if end > export.size {
        return Err(protocol::EINVAL);
    }
    let broken = |_| protocol::EIO;
    let fua = request.flags & protocol::FUA != 0;
    let range = (offset, u64::from(length));
    let mut log = shared.log();
    match request.command {
        command::READ if length > protocol::MAX_REQUEST => Err(protocol::EINVAL),
        command::READ => {
            data.resize(length as usize, 0);
            export.file.read_exact_at(data, offset).map_err(broken)
        }
        command::WRITE => {
            export.file.write_all_at(data, offset).map_err(broken)?;
            log.note(disk, Kind::Write, fua, range, data).map_err(broken)
        }
        command::TRIM | command::WRITE_ZEROES => {
            clear(&export.file, offset, range.1).map_err(broken)?;
            let trim = request.command == command::TRIM;
            let kind = if trim { Kind::Trim } else { Kind::Zero };
            log.note(disk, kind, fua, range, &[]).map_err(broken)
        }
        command::FLUSH => log.note(disk, Kind::Flush, false, (0, 0), &[]).map_err(broken),
        _ => Err(protocol::EINVAL),
    }
}

/// Makes a range read as zeros.
pub(super) fn clear(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, offset, length)?)
}

#[cfg(test)]
mod tests;
