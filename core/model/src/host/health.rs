//! `[health]`: from when on somebody is told how pools and disks wear.

use serde::{Deserialize, Serialize};

/// Section `[health]` of `host.toml`: beyond each of these limits somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How full a pool may be, in hundredths, of data or of metadata.
    pub fill: u32,
    /// Whether disks are asked how they are.
    pub smart: bool,
    /// How many bad sectors a disk may have.
    pub sectors: u32,
    /// How much of what a disk was made for may be written, in hundredths.
    pub worn: u32,
    /// How hot a disk may be, in degrees Celsius.
    pub celsius: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { fill: 90, smart: true, sectors: 0, worn: 90, celsius: 60 }
    }
}

impl Health {
    /// Whether it is what a document that says nothing gets.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
