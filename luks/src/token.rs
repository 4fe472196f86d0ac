//! The token that says whose header this is and whether its installation finished.

use std::fs::File;
use std::path::Path;

use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptDevice, CryptInit, CryptTokenInfo, LibcryptErr, TokenInput};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LuksError, Result, header, log};

/// The token's type in the header.
pub(crate) const TYPE: &str = "bedplate";

/// How many tokens a LUKS2 header can hold.
const TOKENS: u32 = 32;

/// What our token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Hash of the plan that made the header.
    pub plan: String,
    /// Whether that plan was carried out to its end.
    pub sealed: bool,
}

impl Token {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "type": TYPE, "keyslots": [], "plan": self.plan, "sealed": self.sealed,
        })
    }
}

/// The UUID and our token of a header; `None` when it is no LUKS2 or carries no such token.
/// Nothing is written, whatever state the header is in.
pub fn read_token(device: &Path) -> Result<Option<(Uuid, Token)>> {
    header::read(device).map_err(|source| LuksError::File {
        operation: "read the LUKS header",
        path: device.to_owned(),
        source,
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
    let sealed = Token { sealed: true, ..token }.to_json();
    header.token_handle().json_set(TokenInput::ReplaceToken(index, &sealed)).map_err(failed)?;
    // The boot entry is written next and must not overtake the seal.
    File::open(device).and_then(|file| file.sync_all()).map_err(|source| LuksError::File {
        operation: "flush the seal",
        path: device.to_owned(),
        source,
    })
}

/// Adds the token to a header that has none.
pub(crate) fn add(header: &mut CryptDevice, token: &Token) -> std::result::Result<(), LibcryptErr> {
    header.token_handle().json_set(TokenInput::AddToken(&token.to_json())).map(drop)
}

fn find(header: &mut CryptDevice) -> std::result::Result<Option<(u32, Token)>, LibcryptErr> {
    for index in 0..TOKENS {
        match header.token_handle().status(index)? {
            CryptTokenInfo::Invalid => break,
            CryptTokenInfo::External(kind) | CryptTokenInfo::ExternalUnknown(kind)
                if kind == TYPE =>
            {
                let json = header.token_handle().json_get(index)?;
                let token = serde_json::from_value(json).map_err(LibcryptErr::JsonError)?;
                return Ok(Some((index, token)));
            }
            _ => {}
        }
    }
    Ok(None)
}
