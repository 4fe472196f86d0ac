//! Renderers: events as bars, plain lines and JSON, and how things stand.
//!
//! Architecture invariant: they depend on the event types alone, so that whoever receives events,
//! on the machine or at the other end of a connection, shows them alike.

pub mod bars;
pub mod entries;
pub mod json;
pub mod plain;
pub mod text;
