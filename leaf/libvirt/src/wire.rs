//! Messages of libvirt's protocol, in XDR (RFC 4506).
//!
//! Numbers and structures: `src/rpc/virnetprotocol.x` (messages, errors) and
//! `src/remote/remote_protocol.x` (procedures) of libvirt, which never change for a procedure
//! once it is released: programs and daemons of any two versions understand each other.

/// `REMOTE_PROGRAM`: the program that every procedure called here belongs to.
const PROGRAM: u32 = 0x2000_8086;
/// `REMOTE_PROTOCOL_VERSION`: the version of that program.
const VERSION: u32 = 1;
/// `VIR_NET_CALL`: type of a message that asks for a procedure.
const CALL: u32 = 0;
/// `VIR_NET_REPLY`: type of the message that answers a call.
const REPLY: u32 = 1;
/// `VIR_NET_OK`: status of a call, and of a reply that carries a result.
const OK: u32 = 0;
/// `VIR_NET_ERROR`: status of a reply that carries an error in the place of a result.
const ERROR: u32 = 1;
/// `VIR_NET_MESSAGE_LEN_MAX`: bytes of the length, which counts itself.
pub(crate) const LENGTH_BYTES: usize = 4;
/// `VIR_NET_MESSAGE_HEADER_MAX`, in bytes.
const HEADER_BYTES: usize = 24;
/// `VIR_NET_MESSAGE_MAX`, in bytes.
const MESSAGE_MAX: usize = 16 << 20;
/// `VIR_UUID_BUFLEN`, in bytes.
const UUID_BYTES: usize = 16;

/// `virConnectListAllDomains` without a flag.
pub(crate) const LIST_ALL: u32 = 0;
/// `VIR_CONNECT_LIST_DOMAINS_AUTOSTART`: only those that are started at boot.
pub(crate) const LIST_AUTOSTART: u32 = 1 << 10;
/// `VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE`: only those whose memory libvirt has saved.
pub(crate) const LIST_MANAGED_SAVE: u32 = 1 << 8;
/// `virDomainGetXMLDesc` without a flag: of a domain that runs, what it runs with.
pub(crate) const XML_LIVE: u32 = 0;
/// `VIR_DOMAIN_XML_INACTIVE`: of any domain, what it is started with the next time.
pub(crate) const XML_INACTIVE: u32 = 1 << 1;

/// A procedure of `enum remote_procedure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Procedure {
    ConnectOpen = 1,
    ConnectClose = 2,
    DomainGetXmlDesc = 14,
    AuthList = 66,
    DomainGetState = 212,
    ConnectListAllDomains = 273,
}

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than it says.
    #[error("it ends too early")]
    Short,
    /// Longer than a message may be, or shorter than its header.
    #[error("{0} bytes are no length of a message")]
    Length(usize),
    /// Neither there nor not there.
    #[error("{0} is neither yes nor no")]
    Optional(u32),
    /// A string that is not UTF-8.
    #[error("its text is not UTF-8")]
    Text,
    /// Not of what was asked.
    #[error("it answers something else")]
    Other,
}

/// `remote_nonnull_domain`: a domain, as calls and answers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// Name that it has in libvirt, where no other has it.
    pub name: String,
    /// The bytes of its UUID, in the order of its text.
    pub uuid: [u8; UUID_BYTES],
    /// Number while it runs, else -1.
    pub id: i32,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The result of the procedure.
    Result(Vec<u8>),
    /// The message of a `virNetMessageError`.
    Refused(String),
    /// Nothing that was asked for: an event, or a sign of life.
    Unasked,
}

/// A message that calls a procedure.
pub(crate) fn call(procedure: Procedure, serial: u32, arguments: &[u8]) -> Vec<u8> {
    let length = LENGTH_BYTES + HEADER_BYTES + arguments.len();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let words = [length, PROGRAM, VERSION, procedure as u32, CALL, serial, OK];
    let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    message.extend_from_slice(arguments);
    message
}

/// How many bytes follow the length of a message.
pub fn rest_of_message(length: [u8; LENGTH_BYTES]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(length) as usize;
    if (LENGTH_BYTES + HEADER_BYTES..=LENGTH_BYTES + MESSAGE_MAX).contains(&length) {
        Ok(length - LENGTH_BYTES)
    } else {
        Err(WireError::Length(length))
    }
}

/// Reads a message, without its length, that came after the call `serial`.
pub fn answer(message: &[u8], serial: u32) -> Result<Answer, WireError> {
    let mut reader = Reader(message);
    let (program, _version, _procedure) = (reader.word()?, reader.word()?, reader.word()?);
    let (kind, answered, status) = (reader.word()?, reader.word()?, reader.word()?);
    match (program, kind, status) {
        (PROGRAM, REPLY, _) if answered != serial => Err(WireError::Other),
        (PROGRAM, REPLY, OK) => Ok(Answer::Result(reader.0.to_owned())),
        (PROGRAM, REPLY, ERROR) => refusal(reader).map(Answer::Refused),
        (PROGRAM, REPLY, _) => Err(WireError::Other),
        _ => Ok(Answer::Unasked),
    }
}

/// `virNetMessageError`, as far as its message.
fn refusal(mut reader: Reader<'_>) -> Result<String, WireError> {
    let (_code, _domain) = (reader.word()?, reader.word()?);
    Ok(match reader.word()? {
        0 => "it did not say why".to_owned(),
        1 => reader.text()?,
        other => return Err(WireError::Optional(other)),
    })
}

/// Arguments of [`Procedure::ConnectOpen`]: the URI, which may be missing, and flags.
pub(crate) fn open_arguments(uri: &str) -> Vec<u8> {
    let mut arguments = 1u32.to_be_bytes().to_vec();
    put_text(&mut arguments, uri);
    arguments.extend(0u32.to_be_bytes());
    arguments
}

/// Arguments of [`Procedure::ConnectListAllDomains`]: that the domains are wanted, and flags.
pub(crate) fn list_arguments(flags: u32) -> Vec<u8> {
    [1u32.to_be_bytes(), flags.to_be_bytes()].concat()
}

/// Arguments of [`Procedure::DomainGetXmlDesc`]: the domain, and flags.
pub(crate) fn xml_arguments(domain: &Handle, flags: u32) -> Vec<u8> {
    let mut arguments = Vec::new();
    put_text(&mut arguments, &domain.name);
    arguments.extend(domain.uuid);
    arguments.extend(domain.id.to_be_bytes());
    arguments.extend(flags.to_be_bytes());
    arguments
}

/// Arguments of [`Procedure::DomainGetState`]: the domain, and flags, of which there are none.
pub(crate) fn state_arguments(domain: &Handle) -> Vec<u8> {
    xml_arguments(domain, 0)
}

/// Reads the result of [`Procedure::DomainGetState`]: the numbers of a state and of its reason.
pub fn state(result: &[u8]) -> Result<(u32, u32), WireError> {
    let mut reader = Reader(result);
    Ok((reader.word()?, reader.word()?))
}

/// Whether the result of [`Procedure::AuthList`] asks for no login (`REMOTE_AUTH_NONE`).
pub fn needs_no_login(result: &[u8]) -> Result<bool, WireError> {
    let mut reader = Reader(result);
    let count = reader.word()?;
    let mut none = count == 0;
    for _ in 0..count {
        none |= reader.word()? == 0;
    }
    Ok(none)
}

/// Reads the result of [`Procedure::ConnectListAllDomains`].
pub fn listed(result: &[u8]) -> Result<Vec<Handle>, WireError> {
    let mut reader = Reader(result);
    let count = reader.word()?;
    let mut domains = Vec::new();
    for _ in 0..count {
        domains.push(reader.handle()?);
    }
    Ok(domains)
}

/// Reads the result of [`Procedure::DomainGetXmlDesc`].
pub fn xml(result: &[u8]) -> Result<String, WireError> {
    Reader(result).text()
}

/// A string: length, bytes, zeros up to a multiple of four (RFC 4506, section 4.11).
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (first, rest) = self.0.split_at_checked(count).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn word(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = self.word()? as usize;
        let text = self.bytes(length)?;
        self.bytes(length.next_multiple_of(4) - length)?;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| WireError::Text)
    }

    fn handle(&mut self) -> Result<Handle, WireError> {
        let name = self.text()?;
        Ok(Handle { name, uuid: self.array()?, id: self.array().map(i32::from_be_bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> Handle {
        Handle { name: "haos".into(), uuid: *b"0123456789abcdef", id: -1 }
    }

    /// A message as the daemon sends it, without its length.
    fn message(program: u32, kind: u32, serial: u32, status: u32, payload: &[u8]) -> Vec<u8> {
        let words = [program, VERSION, 14, kind, serial, status];
        let head = words.iter().flat_map(|word| word.to_be_bytes());
        head.chain(payload.iter().copied()).collect()
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_text(&mut bytes, text);
        bytes
    }

    #[test]
    fn a_call_is_written_as_the_protocol_says() {
        let call = call(Procedure::ConnectListAllDomains, 3, &list_arguments(LIST_AUTOSTART));
        let words: Vec<u32> =
            call.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [36, 0x2000_8086, 1, 273, 0, 3, 0, 1, 1024]);
        assert_eq!(rest_of_message(call[..4].try_into().unwrap()), Ok(32));
    }

    #[test]
    fn a_domain_comes_back_as_it_was_sent() {
        let arguments = xml_arguments(&handle(), XML_INACTIVE);
        let mut reader = Reader(&arguments);
        assert_eq!(reader.handle(), Ok(handle()));
        assert_eq!(reader.word(), Ok(2));
        let mut list = 1u32.to_be_bytes().to_vec();
        list.extend(&arguments[..arguments.len() - 4]);
        list.extend(1u32.to_be_bytes());
        assert_eq!(listed(&list), Ok(vec![handle()]));
        // A number of domains that are not there reserves nothing.
        assert_eq!(listed(&u32::MAX.to_be_bytes()), Err(WireError::Short));
    }

    #[test]
    fn a_state_is_two_numbers() {
        assert_eq!(state(&[0, 0, 0, 3, 0, 0, 0, 5]), Ok((3, 5)));
        assert_eq!(state(&[0, 0, 0, 3, 0, 0]), Err(WireError::Short));
    }

    #[test]
    fn an_answer_is_told_from_a_refusal_and_from_what_nobody_asked() {
        let good = message(PROGRAM, REPLY, 7, OK, &text("<domain/>"));
        let Ok(Answer::Result(result)) = answer(&good, 7) else { panic!("{:?}", answer(&good, 7)) };
        assert_eq!(xml(&result).as_deref(), Ok("<domain/>"));
        assert_eq!(answer(&good, 8), Err(WireError::Other));
        let mut error = [42u32.to_be_bytes(), 10u32.to_be_bytes(), 1u32.to_be_bytes()].concat();
        error.extend(text("Domain not found"));
        let refused = message(PROGRAM, REPLY, 7, ERROR, &error);
        assert_eq!(answer(&refused, 7), Ok(Answer::Refused("Domain not found".into())));
        assert_eq!(answer(&message(PROGRAM, 2, 0, OK, b"event"), 7), Ok(Answer::Unasked));
        let keep_alive = 0x6b65_6570;
        assert_eq!(answer(&message(keep_alive, 2, 0, OK, b""), 7), Ok(Answer::Unasked));
    }

    #[test]
    fn what_is_cut_off_or_no_text_is_an_error() {
        let whole = message(PROGRAM, REPLY, 7, OK, &text("<domain/>"));
        for end in 0..HEADER_BYTES {
            assert_eq!(answer(&whole[..end], 7), Err(WireError::Short), "{end}");
        }
        assert_eq!(xml(&text("<domain/>")[..10]), Err(WireError::Short));
        assert_eq!(xml(&[0, 0, 0, 1, 0xff, 0, 0, 0]), Err(WireError::Text));
        assert_eq!(rest_of_message([0, 0, 0, 27]), Err(WireError::Length(27)));
        assert_eq!(rest_of_message([0xff; 4]), Err(WireError::Length(u32::MAX as usize)));
    }

    #[test]
    fn a_login_is_noticed() {
        assert_eq!(needs_no_login(&[0; 4]), Ok(true));
        assert_eq!(needs_no_login(&[0, 0, 0, 1, 0, 0, 0, 0]), Ok(true));
        // REMOTE_AUTH_POLKIT
        assert_eq!(needs_no_login(&[0, 0, 0, 1, 0, 0, 0, 2]), Ok(false));
    }
}
