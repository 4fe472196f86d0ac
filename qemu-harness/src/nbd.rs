//! Disks served over NBD, with every write noted in one order.
//!
//! A machine whose disks come from here can have its power cut afterwards, at any moment: the
//! [`log`] knows what was written, when, and what a flush had made durable; [`cut`] builds the
//! disks as they would be.

pub mod cut;
pub mod log;
mod protocol;
pub mod server;
