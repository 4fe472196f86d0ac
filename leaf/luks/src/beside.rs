//! Tokens of ours beside the seal: whatever is kept in a header, by its type. The seal is another
//! token, and stays as it is.

use std::fs::File;
use std::path::Path;

use bedplate_tools::luks2;
use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptInit, TokenInput};
use serde_json::Value;

use crate::token::index_of;
use crate::{LuksError, Result, log};

/// The token of type `kind` as it stands in the header; `None` where there is none, or no header.
/// Nothing is written, whatever state the header is in.
pub fn read_beside(device: &Path, kind: &str) -> Result<Option<Value>> {
    let header = luks2::read(device).map_err(|source| LuksError::File {
        operation: "read the LUKS header",
        path: device.to_owned(),
        source,
    })?;
    let found = header.and_then(|header| {
        header.tokens.into_values().find(|token| token["type"].as_str() == Some(kind))
    });
    Ok(found)
}

/// Keeps the fields of `content` in the token of type `kind`, durably, in the place of what it held.
/// libcryptsetup writes one copy of the header after the other: a power cut leaves a whole one.
pub fn write_beside(device: &Path, kind: &str, content: &Value) -> Result<()> {
    let _guard = log::begin();
    let failed = |error| LuksError::operation("keep a mark in the LUKS header", device)(error);
    let mut json = serde_json::json!({ "type": kind, "keyslots": [] });
    if let (Some(json), Some(own)) = (json.as_object_mut(), content.as_object()) {
        let fields = own.iter().filter(|(name, _)| !["type", "keyslots"].contains(&name.as_str()));
        json.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    }
    let mut header = CryptInit::init(device).map_err(failed)?;
    header.context_handle().load::<()>(Some(EncryptionFormat::Luks2), None).map_err(failed)?;
    let input = match index_of(&mut header, kind).map_err(failed)? {
        Some(index) => TokenInput::ReplaceToken(index, &json),
        None => TokenInput::AddToken(&json),
    };
    header.token_handle().json_set(input).map_err(failed)?;
    // A pool is mounted next and must not be written to before its mark.
    File::open(device).and_then(|file| file.sync_all()).map_err(|source| LuksError::File {
        operation: "flush the mark",
        path: device.to_owned(),
        source,
    })
}
