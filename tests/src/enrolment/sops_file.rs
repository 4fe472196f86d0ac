//! A file as sops writes it (getsops/sops: README, "Encryption Protocol"), made here where there is
//! no sops. What reads it is tested with a file of sops itself.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bedplate_secrets::age_file;
use bedplate_secrets::ssh::Recipient;
use bedplate_tools::secret::Secret;
use sha2::{Digest as _, Sha512};

use crate::failure::Failure;

/// When the file is said to have been changed.
const CHANGED: &str = "2026-01-01T00:00:00Z";
/// Bytes of the data key, and of each nonce.
const BYTES: usize = 32;

/// A file with one value at `section/name`, for these recipients.
pub fn encrypt(
    (section, name): (&str, &str),
    value: &str,
    recipients: &[Recipient],
) -> Result<String, Failure> {
    let key = random()?;
    let digest: String =
        Sha512::digest(value.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect();
    let sealed = seal(&key, value, &format!("{section}:{name}:"))?;
    let mac = seal(&key, &digest, CHANGED)?;
    let mut text = format!("{section}:\n    {name}: {sealed}\nsops:\n    age:\n");
    for recipient in recipients {
        let stanza = age_file::seal(&Secret::new(key.clone()), std::slice::from_ref(recipient));
        let stanza = stanza.map_err(|error| Failure::Unfit(error.to_string()))?;
        text += &format!("        - recipient: {recipient}\n          enc: |\n");
        for line in String::from_utf8_lossy(&stanza).lines() {
            text += &format!("            {line}\n");
        }
    }
    Ok(text
        + &format!(
            "    lastmodified: \"{CHANGED}\"\n    mac: {mac}\n    unencrypted_suffix: _unencrypted\n    version: 3.9.0\n"
        ))
}

fn random() -> Result<Vec<u8>, Failure> {
    let bytes = bedplate_keystick::keyfile().map_err(|error| Failure::Unfit(error.to_string()))?;
    Ok(bytes.expose().iter().copied().take(BYTES).collect())
}

fn seal(key: &[u8], plain: &str, place: &str) -> Result<String, Failure> {
    let failed = |what: &str| Failure::Unfit(format!("a value was not encrypted: {what}"));
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(key).map_err(|_| failed("the key"))?;
    let iv = random()?;
    let mut data = plain.as_bytes().to_vec();
    let nonce = GenericArray::from_slice(&iv);
    let tag = cipher.encrypt_in_place_detached(nonce, place.as_bytes(), &mut data);
    let tag = tag.map_err(|_| failed("its length"))?;
    let [data, iv, tag] = [&data[..], &iv[..], &tag[..]].map(|part| STANDARD.encode(part));
    Ok(format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:str]"))
}

#[cfg(test)]
mod tests {
    use bedplate_secrets::{sops, ssh};

    use super::*;

    #[test]
    fn each_recipient_opens_it_and_nobody_else() {
        let key = |text: &str| ssh::identity(&Secret::new(text.as_bytes().to_vec())).unwrap();
        let host = key(include_str!("../../../leaf/secrets/tests/fixtures/ssh-ed25519-key"));
        let admin = include_bytes!("../../../leaf/secrets/tests/fixtures/age-keys.txt").to_vec();
        let admin = ssh::identities(&Secret::new(admin)).unwrap().remove(0);
        let all = [admin.recipient(), host.recipient()];
        let text = encrypt(("vm", "user-data"), "a secret", &all).unwrap();
        assert!(!text.contains("a secret"));
        for identity in [&admin, &host] {
            let file = sops::open(&text, std::slice::from_ref(identity)).unwrap();
            assert_eq!(file.value("vm/user-data").unwrap().expose(), b"a secret");
        }
        let text = encrypt(("vm", "user-data"), "a secret", &all[..1]).unwrap();
        assert!(sops::open(&text, &[host]).is_err());
    }
}
