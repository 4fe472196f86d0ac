//! Power cuts: one installation is recorded, and every cut is made from the record.
//!
//! After a cut the disks either do not boot, visibly, or boot complete. Then the installer runs
//! again and finishes, and the result boots. The disk that nobody names never changes.

pub mod cases;
pub mod recording;
pub mod results;
pub mod shape;
pub mod subject;
pub mod trial;
