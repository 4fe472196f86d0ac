//! Renderers: events as bars, plain lines and JSON, how things stand, tables, and places in files.
//!
//! Architecture invariant: they depend on the event types alone, so that whoever receives events,
//! on the machine or at the other end of a connection, shows them alike.

pub mod bars;
pub mod entries;
pub mod excerpt;
pub mod frame;
pub mod json;
pub mod plain;
pub mod style;
pub mod table;
pub mod text;
