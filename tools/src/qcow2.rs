//! qcow2 images, as far as their header says (QEMU's `docs/interop/qcow2.txt`, section "Header").
//!
//! Only for an image that is known to be qcow2. Starting `qemu-img` takes longer than everything
//! else that is looked at.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The first bytes.
const MAGIC: &[u8] = b"QFI\xfb";
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
    fn anything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a");
        for content in [&b"QFI\xfb"[..], &[0; 64]] {
            std::fs::write(&image, content).unwrap();
            assert!(virtual_size(&image).is_err());
        }
    }
}
