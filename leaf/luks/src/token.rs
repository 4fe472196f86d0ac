//! The token that says whose header this is and whether its installation finished.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bedplate_tools::luks2::{self, Header};
use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptDevice, CryptInit, CryptTokenInfo, LibcryptErr, TokenInput};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::volume::backup_header;
use crate::{LuksError, Result, log};

/// The token's type in the header.
const TYPE: &str = "bedplate";

/// How many tokens a LUKS2 header can hold.
const TOKENS: u32 = 32;

/// What our token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Hash of the plan that made the header.
    pub plan: String,
    /// Whether that plan was carried out to its end.
    pub sealed: bool,
    /// When it was, in seconds since 1970 by this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_at: Option<u64>,
    /// Fingerprints of what the plan was made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sections: BTreeMap<String, String>,
}

impl Token {
    /// The token of a plan that is being carried out.
    pub fn unsealed(plan: &str, sections: &BTreeMap<String, String>) -> Self {
        let sections = sections.clone();
        Self { plan: plan.to_owned(), sealed: false, sealed_at: None, sections }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "type": TYPE, "keyslots": [] });
        // Serialising it cannot fail: every map has string keys.
        if let (Some(json), Ok(serde_json::Value::Object(own))) =
            (json.as_object_mut(), serde_json::to_value(self))
        {
            json.extend(own);
        }
        json
    }
}

/// The UUID and our token of a header; `None` when it is no LUKS2 or carries no such token. It is an
/// error when neither copy of the header is whole and one of them cannot be read. Nothing is
/// written, whatever state the header is in.
pub fn read_token(device: &Path) -> Result<Option<(Uuid, Token)>> {
    Ok(read_header(device)?.as_ref().and_then(ours))
}

fn read_header(device: &Path) -> Result<Option<Header>> {
    luks2::read(device).map_err(|source| LuksError::File {
        operation: "read the LUKS header",
        path: device.to_owned(),
        source,
    })
}

fn ours(header: &Header) -> Option<(Uuid, Token)> {
    let uuid = header.uuid.parse().ok()?;
    let token = header.tokens.values().find(|token| token["type"] == TYPE)?;
    Some((uuid, Token::deserialize(token).ok()?))
}

/// What stands where a volume is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No header, or none that a key could open: neither copy is whole, or it has no keyslot.
    Free,
    /// The header that is to be made, as an earlier run left it.
    Begun(Token),
    /// A header that keys open, and that is another one.
    Other,
}

/// Looks at what stands where the volume of this UUID and plan is to be made. Nothing is written.
pub fn standing(device: &Path, uuid: Uuid, plan: &str) -> Result<Standing> {
    let Some(header) = read_header(device)? else { return Ok(Standing::Free) };
    Ok(match ours(&header) {
        Some((found, token)) if found == uuid && token.plan == plan => Standing::Begun(token),
        None if header.keyslots == 0 => Standing::Free,
        _ => Standing::Other,
    })
}

/// Marks the installation as finished; a second time changes nothing.
pub fn seal(device: &Path) -> Result<()> {
    let _guard = log::begin();
    let failed = |error| LuksError::operation("seal the LUKS header", device)(error);
    let mut header = CryptInit::init(device).map_err(failed)?;
    header.context_handle().load::<()>(Some(EncryptionFormat::Luks2), None).map_err(failed)?;
    let Some((index, token)) = find(&mut header).map_err(failed)? else {
        return Err(LuksError::NoToken { device: device.to_owned() });
    };
    if token.sealed {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    let sealed = Token { sealed: true, sealed_at: now, ..token }.to_json();
    header.token_handle().json_set(TokenInput::ReplaceToken(index, &sealed)).map_err(failed)?;
    // The boot entry is written next and must not overtake the seal.
    File::open(device).and_then(|file| file.sync_all()).map_err(|source| LuksError::File {
        operation: "flush the seal",
        path: device.to_owned(),
        source,
    })
}

/// Writes a copy of the header, sealed, to a file that must not exist yet: put back later, it belongs to
/// what is finished then.
pub fn backup_sealed(device: &Path, file: &Path) -> Result<()> {
    backup_header(device, file)?;
    seal(file)
}

/// Adds the token to a header that has none.
pub(crate) fn add(header: &mut CryptDevice, token: &Token) -> std::result::Result<(), LibcryptErr> {
    header.token_handle().json_set(TokenInput::AddToken(&token.to_json())).map(drop)
}

fn find(header: &mut CryptDevice) -> std::result::Result<Option<(u32, Token)>, LibcryptErr> {
    let Some(index) = index_of(header, TYPE)? else { return Ok(None) };
    let json = header.token_handle().json_get(index)?;
    let token = serde_json::from_value(json).map_err(LibcryptErr::JsonError)?;
    Ok(Some((index, token)))
}

/// The number of the token of a type.
pub(crate) fn index_of(
    header: &mut CryptDevice,
    wanted: &str,
) -> std::result::Result<Option<u32>, LibcryptErr> {
    for index in 0..TOKENS {
        match header.token_handle().status(index)? {
            CryptTokenInfo::Invalid => break,
            CryptTokenInfo::External(kind) | CryptTokenInfo::ExternalUnknown(kind)
                if kind == wanted =>
            {
                return Ok(Some(index));
            }
            _ => {}
        }
    }
    Ok(None)
}
