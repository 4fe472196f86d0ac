//! What stands in the first sector of a disk or volume while we write the rest of it.
//!
//! What is looked for there (the protective MBR, the boot sector of a VFAT volume) comes last, so
//! that a power cut leaves nothing that looks whole. With the mark it does not leave something that
//! nobody knows either: the next run sees whose unfinished work it is. No other program knows it.

/// How the sector begins; the name follows, then zeros.
const MAGIC: &[u8] = b"BEDPLATE-UNFINISHED\0";
/// Room for a name: a UUID, or the id of a volume.
const NAME: usize = 44;

/// How much of a device [`name`] needs.
pub const LENGTH: usize = MAGIC.len() + NAME;

/// The beginning of the first sector of what is to be known by `name`.
pub fn mark(name: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(name.bytes().take(NAME));
    bytes.resize(LENGTH, 0);
    bytes
}

/// The name in a first sector that carries the mark.
pub fn name(start: &[u8]) -> Option<String> {
    let name = start.strip_prefix(MAGIC)?.get(..NAME)?.split(|byte| *byte == 0).next()?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    (!name.is_empty() && name.iter().all(plain)).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_a_mark_gives_its_name_and_nothing_else_does() {
        for id in ["12345678-9abc-4def-8123-456789abcdef", "1A2B-3C4D"] {
            assert_eq!(name(&mark(id)).as_deref(), Some(id));
        }
        assert_eq!(mark("1A2B-3C4D").len(), LENGTH);
        for other in [&[0; LENGTH][..], b"BEDPLATE-UNFINISHED\0", &mark("a\nb"), &mark("")] {
            assert_eq!(name(other), None);
        }
    }
}
