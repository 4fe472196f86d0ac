//! Keys that are made.

use bedplate_tools::secret::Secret;

use crate::layout::KEYFILE_BYTES;
use crate::{Result, StickError};

/// ModHex, known from hardware tokens: the sixteen letters that QWERTY, QWERTZ and AZERTY have
/// at the same place. Digits and `-` are elsewhere on AZERTY, and a console at boot has
/// whatever layout the kernel was built with.
pub const ALPHABET: &[u8; 16] = b"cbdefghijklnrtuv";

/// Groups of a passphrase; the space between them has the same place everywhere, too.
const GROUPS: usize = 8;

/// Letters of a group: 32 letters of four bits in all.
const GROUP_LENGTH: usize = 4;

/// A fresh keyfile: 512 random bits.
pub fn keyfile() -> Result<Secret> {
    random(KEYFILE_BYTES)
}

/// A fresh passphrase of 128 bits that can be typed from paper on any keyboard.
pub fn passphrase() -> Result<Secret> {
    let bytes = random(GROUPS * GROUP_LENGTH / 2)?;
    let letters: Vec<u8> = bytes
        .expose()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| ALPHABET.get(usize::from(nibble)).copied())
        .collect();
    Ok(Secret::new(letters.chunks(GROUP_LENGTH).collect::<Vec<_>>().join(&b' ')))
}

fn random(count: usize) -> Result<Secret> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(StickError::Random)?;
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter rows as the three layouts print them on the same keys.
    const QWERTY: &str = "qwertyuiopasdfghjkl;zxcvbnm";
    const QWERTZ: &str = "qwertzuiopasdfghjklöyxcvbnm";
    const AZERTY: &str = "azertyuiopqsdfghjklmwxcvbn,";

    #[test]
    fn t22_a_recovery_passphrase_is_typed_alike_on_every_layout() {
        let places = |layout: &str, letter| layout.chars().position(|key| key == letter);
        for letter in ALPHABET.iter().map(|byte| char::from(*byte)) {
            let here = places(QWERTY, letter);
            assert!(here.is_some(), "{letter}");
            assert_eq!(here, places(QWERTZ, letter), "{letter}");
            assert_eq!(here, places(AZERTY, letter), "{letter}");
        }
        let made = passphrase().unwrap();
        let text = std::str::from_utf8(made.expose()).unwrap();
        let groups: Vec<_> = text.split(' ').collect();
        assert_eq!(groups.len(), 8);
        let typed = |group: &&str| group.len() == 4 && group.bytes().all(|b| ALPHABET.contains(&b));
        assert!(groups.iter().all(typed));
    }

    #[test]
    fn t25_two_keys_are_never_the_same() {
        assert_eq!(keyfile().unwrap().expose().len() * 8, 512);
        assert_ne!(keyfile().unwrap(), keyfile().unwrap());
        assert_ne!(passphrase().unwrap(), passphrase().unwrap());
    }
}
