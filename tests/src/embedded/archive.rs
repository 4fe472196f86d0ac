//! Reading the `newc` archives of cpio that an initrd is made of, one behind the other.

use std::collections::BTreeMap;

/// Before the name: a magic number and thirteen fields of eight hexadecimal digits.
const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
/// Where in the header the sizes of content and name stand.
const SIZE: usize = 54;
const NAME: usize = 94;
const END: &str = "TRAILER!!!";

/// The files of all archives by name; what stands in a later one wins, as in the kernel. None where
/// something else begins, or ends too early.
pub fn files(mut bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    loop {
        let padding = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes = bytes.get(padding..)?;
        if bytes.is_empty() {
            return Some(found);
        }
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let (size, length) = (number(bytes, SIZE)?, number(bytes, NAME)?);
        let content = (HEADER + length).next_multiple_of(4);
        let name = bytes.get(HEADER..(HEADER + length).checked_sub(1)?)?;
        let name = std::str::from_utf8(name).ok()?;
        if name != END {
            let content = bytes.get(content..content.checked_add(size)?)?;
            found.insert(name.to_owned(), content.to_vec());
        }
        bytes = bytes.get(content.checked_add(size)?.next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = std::str::from_utf8(bytes.get(at..at + 8)?).ok()?;
    usize::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use bedplate_tools::cpio::Archive;

    use super::*;

    #[test]
    fn archives_behind_each_other_are_read_and_the_last_one_wins() {
        let mut bytes = Vec::new();
        for content in ["first", "second!"] {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let mut archive = Archive::new(bytes);
            archive.file("a/b", 0o400, content.as_bytes()).unwrap();
            archive.file(&format!("of-{content}"), 0o400, b"").unwrap();
            bytes = archive.finish().unwrap();
        }
        let found = files(&bytes).unwrap();
        assert_eq!(found["a/b"], b"second!");
        assert!(found.contains_key("of-first") && found.contains_key("of-second!"));
        assert_eq!(files(&bytes[..bytes.len() - 70]), None);
        assert_eq!(files(b"zstd?"), None);
    }
}
