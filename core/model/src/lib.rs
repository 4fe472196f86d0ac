//! What a host is to be, what a machine has, and what is to be done to it: types that every part of
//! Bedplate knows, and what follows from their values alone.
//!
//! Architecture invariant: nothing in this crate reads a file, a clock, a random number generator or a C
//! library.

pub mod facts;
pub mod hardware;
pub mod host;
pub mod identity;
pub mod name;
pub mod nic;
pub mod plan;
pub mod size;
