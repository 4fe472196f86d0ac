//! qcow2 images, as far as their header says (QEMU's `docs/interop/qcow2.txt`, section "Header").
//!
//! Only for an image that is known to be qcow2. Starting `qemu-img` takes longer than everything
//! else that is looked at.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The first bytes.
const MAGIC: &[u8] = b"QFI\xfb";
/// Where it stands in the file what the image is based on, 64 bits; none when that is zero.
const BASE_PLACE: std::ops::Range<usize> = 8..16;
/// How long that name is, 32 bits.
const BASE_LENGTH: std::ops::Range<usize> = 16..20;
/// The longest that name may be.
const LONGEST_BASE: usize = 1023;
/// More images are never based on each other: one that is based on itself comes to an end.
const DEEPEST: usize = 64;
/// Where the size of the disk stands, 64 bits, the most significant byte first.
const SIZE: std::ops::Range<usize> = 24..32;

/// Size of the disk that a guest sees, in bytes.
pub fn virtual_size(image: &Path) -> io::Result<u64> {
    let mut header = [0; SIZE.end];
    File::open(image)?.read_exact(&mut header)?;
    size_in(&header)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no qcow2 image"))
}

/// The size of the disk in the first bytes of an image; none when they are no header of qcow2.
pub fn size_in(header: &[u8]) -> Option<u64> {
    let (magic, size) = (header.get(..MAGIC.len()), header.get(SIZE));
    match (magic, size.map(<[u8; 8]>::try_from)) {
        (Some(magic), Some(Ok(size))) if magic == MAGIC => Some(u64::from_be_bytes(size)),
        _ => None,
    }
}

/// The files that the image is based on, the nearest first: all that are named, whether or not they
/// are there. An image of another format is based on nothing that could be seen.
pub fn bases(image: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut next = base(image)?;
    while let Some(path) = next.filter(|_| found.len() < DEEPEST) {
        // What is not there, or is no qcow2, ends the chain.
        next = base(&path).unwrap_or(None);
        found.push(path);
    }
    Ok(found)
}

/// The file that the image is based on itself.
fn base(image: &Path) -> io::Result<Option<PathBuf>> {
    let mut header = [0; SIZE.end];
    let file = File::open(image)?;
    if let Err(error) = (&file).read_exact(&mut header) {
        // Too short for a qcow2.
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
        return if is_short { Ok(None) } else { Err(error) };
    }
    let place = header.get(BASE_PLACE).and_then(|bytes| bytes.try_into().ok());
    let length = header.get(BASE_LENGTH).and_then(|bytes| bytes.try_into().ok());
    let place = place.map_or(0, u64::from_be_bytes);
    let length = length.map_or(0, u32::from_be_bytes) as usize;
    if !header.starts_with(MAGIC) || place == 0 || length == 0 {
        return Ok(None);
    }
    let mut name = vec![0; length.min(LONGEST_BASE)];
    file.read_exact_at(&mut name, place)?;
    let directory = image.parent().unwrap_or(Path::new("/"));
    Ok(file_of(&String::from_utf8_lossy(&name)).map(|file| directory.join(file)))
}

/// The file in a name as QEMU writes it: a path, one with `file:` before it, or `json:` and what
/// `blockdev-add` takes. What is not in a file is none.
fn file_of(name: &str) -> Option<String> {
    if let Some(text) = name.strip_prefix("json:") {
        return file_in(&serde_json::from_str(text).ok()?);
    }
    let plain = name.strip_prefix("file:").unwrap_or(name);
    // `nbd://`, `rbd:`.
    let is_elsewhere = !plain.starts_with('/') && plain.contains(':');
    (!is_elsewhere).then(|| plain.to_owned())
}

/// In `{"driver": "qcow2", "file": {"driver": "file", "filename": "/a"}}`, however it is nested.
fn file_in(value: &serde_json::Value) -> Option<String> {
    let object = value.as_object()?;
    let here = object.get("filename").or_else(|| object.get("file.filename"));
    let here = here.and_then(serde_json::Value::as_str).map(str::to_owned);
    here.or_else(|| object.values().find_map(file_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_what_qemu_img_made() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a.qcow2");
        crate::qemu_img::create(&image, 5 << 30).unwrap();
        assert_eq!(virtual_size(&image).unwrap(), 5 << 30);
        crate::qemu_img::enlarge(&image, 6 << 30).unwrap();
        assert_eq!(virtual_size(&image).unwrap(), 6 << 30);
    }

    #[test]
    fn t49_what_an_image_is_based_on_is_followed_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        crate::qemu_img::create(&at("base"), 1 << 20).unwrap();
        assert!(bases(&at("base")).unwrap().is_empty());
        let top = |name: &str, base: &str| {
            let mut command = std::process::Command::new("qemu-img");
            command.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base]);
            assert!(command.arg(at(name)).arg("1M").status().unwrap().success());
        };
        top("middle", &at("base").to_string_lossy());
        // Beside it, and in the form that QEMU writes itself.
        top("top", "middle");
        let json = format!(
            r#"json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{}"}}}}"#,
            at("middle").display()
        );
        top("other", &json);
        for name in ["top", "other"] {
            assert_eq!(bases(&at(name)).unwrap(), [at("middle"), at("base")], "{name}");
        }
        top("itself", "itself");
        assert_eq!(bases(&at("itself")).unwrap().len(), DEEPEST);
        top("elsewhere", "nbd://host/x");
        std::fs::write(at("raw"), "short").unwrap();
        assert!(
            bases(&at("elsewhere")).unwrap().is_empty() && bases(&at("raw")).unwrap().is_empty()
        );
        assert!(bases(&at("none")).is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a");
        for content in [&b"QFI\xfb"[..], &[0; 64]] {
            std::fs::write(&image, content).unwrap();
            assert!(virtual_size(&image).is_err());
        }
    }
}
