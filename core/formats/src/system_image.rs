//! A store as a file system that, written as it is, becomes the file system of the OS disk.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where the medium describes it, relative to the mount of the image that holds it.
pub const DESCRIPTION: &str = "system.json";

/// The file system itself, beside the description: sparse.
pub const FILE: &str = "system.btrfs";

/// A btrfs file system of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemImage {
    /// The id its blocks were written with.
    pub fsid: Uuid,
    /// Its size in bytes: the least a device must have.
    pub size: u64,
    /// Where something was written, in order; what lies between was never referred to.
    pub segments: Vec<Segment>,
}

/// Bytes that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl SystemImage {
    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.length))
    }

    /// Reads a description; none when it is no such document, or names bytes beyond the size.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let image: Self = serde_json::from_slice(text).ok()?;
        let mut end = 0;
        for segment in &image.segments {
            if segment.start < end {
                return None;
            }
            end = segment.start.checked_add(segment.length)?;
        }
        (end <= image.size).then_some(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(segments: &[(u64, u64)]) -> Vec<u8> {
        let segments = segments.iter().map(|&(start, length)| Segment { start, length }).collect();
        serde_json::to_vec(&SystemImage { fsid: Uuid::nil(), size: 100, segments }).unwrap()
    }

    #[test]
    fn segments_are_in_order_and_within_the_size() {
        assert_eq!(SystemImage::parse(&image(&[(0, 10), (10, 5), (90, 10)])).unwrap().bytes(), 25);
        assert_eq!(SystemImage::parse(&image(&[(0, 10), (9, 5)])), None);
        assert_eq!(SystemImage::parse(&image(&[(90, 11)])), None);
        assert_eq!(SystemImage::parse(&image(&[(1, u64::MAX)])), None);
        assert_eq!(SystemImage::parse(b"{}"), None);
    }
}
