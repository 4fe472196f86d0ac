//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` (aes/cipher.go).

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bedplate_tools::secret::Secret;
use zeroize::Zeroizing;

/// What every encrypted value begins with.
pub const PREFIX: &str = "ENC[AES256_GCM,";

/// Opens a value. `place` is authenticated with it: what is moved to another key does not open.
///
/// The types `int`, `float`, `bool` and `time` are given as their text, which is what the MAC covers.
pub fn open(text: &str, data_key: &[u8], place: &str) -> Result<Secret, &'static str> {
    let parts = Parts::of(text).ok_or("it is not in the format of sops")?;
    if !matches!(parts.kind, "str" | "int" | "float" | "bool" | "bytes" | "time") {
        return Err("its type is not known");
    }
    let decode = |part: &str| STANDARD.decode(part).map_err(|_| "it is not base64");
    let (mut data, iv, tag) =
        (Zeroizing::new(decode(parts.data)?), decode(parts.iv)?, decode(parts.tag)?);
    if iv.len() != 32 || tag.len() != 16 {
        return Err("its nonce or its tag has another length than sops writes");
    }
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(data_key);
    let cipher = cipher.map_err(|_| "the data key has another length than sops writes")?;
    let (iv, tag) = (GenericArray::from_slice(&iv), GenericArray::from_slice(&tag));
    let opened = cipher.decrypt_in_place_detached(iv, place.as_bytes(), &mut data, tag);
    opened.map_err(|_| "it was changed, or stands at another place than it was encrypted for")?;
    Ok(Secret::new(std::mem::take(&mut *data)))
}

struct Parts<'a> {
    data: &'a str,
    iv: &'a str,
    tag: &'a str,
    kind: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix(PREFIX)?.strip_suffix(']')?;
        let mut parts = inner.split(',');
        let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(':');
        let found =
            Self { data: part("data")?, iv: part("iv")?, tag: part("tag")?, kind: part("type")? };
        parts.next().is_none().then_some(found)
    }
}
