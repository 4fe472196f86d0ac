//! Guests of a host: one driver for each kind.

pub mod vm;
