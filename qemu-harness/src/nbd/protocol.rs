//! The words of the protocol, as named by the NBD project's `doc/proto.md`.

use std::io::{self, Read, Write};

/// What the server says first (section "Newstyle negotiation").
pub(super) const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`, before the server's flags and before each option of the client.
pub(super) const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
/// Before each answer to an option (section "Fixed newstyle negotiation").
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;

/// `NBD_FLAG_FIXED_NEWSTYLE` and `NBD_FLAG_NO_ZEROES` (section "Handshake flags").
pub(super) const HANDSHAKE_FLAGS: u16 = 1 | 1 << 1;
/// `NBD_FLAG_C_NO_ZEROES` (section "Client flags").
pub(super) const CLIENT_NO_ZEROES: u32 = 1 << 1;

/// Options of the client (section "Option types").
pub(super) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const GO: u32 = 7;
}

/// Answers to options (section "Option reply types").
pub(super) mod reply {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const UNSUPPORTED: u32 = 1 << 31 | 1;
    pub(crate) const UNKNOWN_EXPORT: u32 = 1 << 31 | 6;
}

/// `NBD_INFO_EXPORT` and `NBD_INFO_BLOCK_SIZE` (section "Option reply types").
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// `NBD_FLAG_HAS_FLAGS`, `SEND_FLUSH`, `SEND_FUA`, `SEND_TRIM`, `SEND_WRITE_ZEROES`
/// (section "Transmission flags").
pub(super) const TRANSMISSION_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

/// Requests (section "Request types").
pub(super) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISCONNECT: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const WRITE_ZEROES: u16 = 6;
}

/// `NBD_CMD_FLAG_FUA` (section "Command flags").
pub(super) const FUA: u16 = 1;

/// Section "Request message".
const REQUEST: u32 = 0x2560_9513;
/// Section "Simple reply message".
const SIMPLE_REPLY: u32 = 0x6744_6698;

/// `NBD_EIO` and `NBD_EINVAL` (section "Error values").
pub(super) const EIO: u32 = 5;
pub(super) const EINVAL: u32 = 22;

/// The most that one request may carry; what is announced as the largest block size.
pub(super) const MAX_REQUEST: u32 = 32 << 20;

/// A request in the transmission phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    /// Reads the next one; none when the client has gone.
    pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let magic = match u32_of(stream) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            magic => magic?,
        };
        if magic != REQUEST {
            return Err(invalid("a request without its magic number"));
        }
        Ok(Some(Self {
            flags: u16_of(stream)?,
            command: u16_of(stream)?,
            cookie: u64_of(stream)?,
            offset: u64_of(stream)?,
            length: u32_of(stream)?,
        }))
    }
}

/// Writes a simple reply.
pub(super) fn answer(
    stream: &mut impl Write,
    cookie: u64,
    error: u32,
    data: &[u8],
) -> io::Result<()> {
    let mut message = Vec::with_capacity(16 + data.len());
    message.extend(SIMPLE_REPLY.to_be_bytes());
    message.extend(error.to_be_bytes());
    message.extend(cookie.to_be_bytes());
    message.extend(data);
    stream.write_all(&message)
}

/// Writes an answer to an option.
pub(super) fn answer_option(
    stream: &mut impl Write,
    option: u32,
    kind: u32,
    data: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut message = OPTION_REPLY.to_be_bytes().to_vec();
    for number in [option, kind, length] {
        message.extend(number.to_be_bytes());
    }
    message.extend(data);
    stream.write_all(&message)
}

/// What `NBD_OPT_GO` is told of an export.
pub(super) fn export_information(size: u64) -> Vec<u8> {
    let mut data = INFO_EXPORT.to_be_bytes().to_vec();
    data.extend(size.to_be_bytes());
    data.extend(TRANSMISSION_FLAGS.to_be_bytes());
    data
}

/// The sizes of blocks: smallest, preferred, largest.
pub(super) fn block_information() -> Vec<u8> {
    let mut data = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
    for size in [512, 4096, MAX_REQUEST] {
        data.extend(size.to_be_bytes());
    }
    data
}

pub(super) fn u16_of(stream: &mut impl Read) -> io::Result<u16> {
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes).map(|()| u16::from_be_bytes(bytes))
}

pub(super) fn u32_of(stream: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes))
}

pub(super) fn u64_of(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).map(|()| u64::from_be_bytes(bytes))
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
