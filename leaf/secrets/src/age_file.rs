//! age files (age-encryption.org/v1), armored or not.

use std::io::{self, BufRead as _, Write as _};
use std::iter;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use bedplate_tools::secret::Secret;

use crate::LIMIT;
use crate::ssh::{Identity, KeyError, Recipient};

/// The most that opening a passphrase may cost, as a power of two: 1 GiB of memory.
const MOST_WORK: u8 = 20;

/// What a guess at a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// As the program `age` has it: 256 MiB of memory and about a second.
    Usual,
    /// Next to nothing, which is enough for a generated passphrase and makes tests quick.
    Least,
}

impl Cost {
    /// scrypt's N as a power of two (age-encryption.org/v1, "The scrypt recipient type").
    fn work(self) -> u8 {
        match self {
            Self::Usual => 18,
            Self::Least => 2,
        }
    }
}

/// A file that was not opened or made.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// Not for us.
    #[error("it is not encrypted for any of these keys: {0}")]
    OtherKeys(String),
    /// A passphrase.
    #[error("it is encrypted with a passphrase, not for a key")]
    Passphrase,
    /// A key.
    #[error("it is encrypted for keys, not with a passphrase")]
    NoPassphrase,
    /// Another passphrase.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
    /// Cut short or changed.
    #[error("it is no age file, or was cut short or changed: {0}")]
    Damaged(String),
    /// Too long.
    #[error("it holds more than {LIMIT} bytes; a secret is shorter")]
    TooLong,
    /// Text that is no key.
    #[error("a recipient is no age key")]
    Recipient(#[from] KeyError),
    /// Nobody could open it.
    #[error("nobody is named who could open it")]
    Nobody,
    /// Writing into memory.
    #[error("it could not be encrypted")]
    Encrypt(#[source] io::Error),
}

/// Opens a file with the keys of the host or of the admin.
pub fn open(file: &[u8], keys: &[Identity]) -> Result<Secret, AgeError> {
    let decryptor = decryptor(file)?;
    if decryptor.is_scrypt() {
        return Err(AgeError::Passphrase);
    }
    let identities = keys.iter().map(|key| key.key() as &dyn age::Identity);
    let reader = decryptor.decrypt(identities).map_err(|error| match error {
        DecryptError::NoMatchingKeys => AgeError::OtherKeys(names(keys)),
        other => AgeError::Damaged(other.to_string()),
    })?;
    read(reader)
}

/// How many keys, or passphrases, open a file. Which ones it does not say
/// (age-encryption.org/v1, "Recipient stanza").
pub fn openers(file: &[u8]) -> Result<usize, AgeError> {
    // Damaged ones are told of as everywhere.
    decryptor(file)?;
    let mut count = 0;
    for line in io::BufReader::new(ArmoredReader::new(file)).split(b'\n') {
        let line = line.map_err(|error| AgeError::Damaged(error.to_string()))?;
        // The MAC ends the header.
        if line.starts_with(b"---") {
            break;
        }
        let kind =
            line.strip_prefix(b"-> ").and_then(|words| words.split(|byte| *byte == b' ').next());
        // What is there only so that no reader forgets to pass over what it does not know.
        count += usize::from(kind.is_some_and(|kind| !kind.ends_with(b"-grease")));
    }
    Ok(count)
}

/// Opens a file with a passphrase.
pub fn open_with_passphrase(file: &[u8], passphrase: &Secret) -> Result<Secret, AgeError> {
    let decryptor = decryptor(file)?;
    if !decryptor.is_scrypt() {
        return Err(AgeError::NoPassphrase);
    }
    let mut identity = age::scrypt::Identity::new(words(passphrase)?);
    identity.set_max_work_factor(MOST_WORK);
    let reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity));
    read(reader.map_err(|error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            AgeError::WrongPassphrase
        }
        other => AgeError::Damaged(other.to_string()),
    })?)
}

/// Encrypts for `recipients`, armored.
pub fn seal(secret: &Secret, recipients: &[Recipient]) -> Result<Vec<u8>, AgeError> {
    let keys = recipients.iter().map(Recipient::key).collect::<Result<Vec<_>, _>>()?;
    let encryptor = Encryptor::with_recipients(keys.iter().map(|key| key as &dyn age::Recipient));
    write(
        secret,
        encryptor.map_err(|error| match error {
            EncryptError::MissingRecipients => AgeError::Nobody,
            other => AgeError::Encrypt(io::Error::other(other)),
        })?,
    )
}

/// Encrypts with a passphrase, armored.
pub fn seal_with_passphrase(
    secret: &Secret,
    passphrase: &Secret,
    cost: Cost,
) -> Result<Vec<u8>, AgeError> {
    let mut recipient = age::scrypt::Recipient::new(words(passphrase)?);
    recipient.set_work_factor(cost.work());
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient));
    write(secret, encryptor.map_err(|other| AgeError::Encrypt(io::Error::other(other)))?)
}

/// The keys that were tried, for an error message.
fn names(keys: &[Identity]) -> String {
    let names: Vec<String> = keys.iter().map(|key| key.recipient().to_string()).collect();
    if names.is_empty() { "there is none".into() } else { names.join(", ") }
}

fn decryptor(file: &[u8]) -> Result<Decryptor<ArmoredReader<io::BufReader<&[u8]>>>, AgeError> {
    Decryptor::new(ArmoredReader::new(file)).map_err(|error| AgeError::Damaged(error.to_string()))
}

fn words(passphrase: &Secret) -> Result<SecretString, AgeError> {
    let text = std::str::from_utf8(passphrase.expose()).map_err(|_| AgeError::WrongPassphrase)?;
    Ok(SecretString::from(text.to_owned()))
}

fn read(reader: impl io::Read) -> Result<Secret, AgeError> {
    let most = u64::try_from(LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    let secret = Secret::read(&mut reader.take(most));
    let secret = secret.map_err(|error| AgeError::Damaged(error.to_string()))?;
    if secret.expose().len() > LIMIT { Err(AgeError::TooLong) } else { Ok(secret) }
}

fn write(secret: &Secret, encryptor: Encryptor) -> Result<Vec<u8>, AgeError> {
    let made = || {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(secret.expose())?;
        writer.finish()?.finish()
    };
    made().map_err(AgeError::Encrypt)
}

#[cfg(test)]
mod tests;
