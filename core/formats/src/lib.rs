//! Formats of files that one part of Bedplate writes and another reads.
//!
//! Architecture invariant: nothing in this crate reads a file, a clock, a random number generator or a C
//! library; bytes and text go in and out.

pub mod answers;
pub mod boot;
pub mod passphrase;
pub mod platform;
pub mod remote;
pub mod repository_tree;
pub mod system_image;
