//! Renderers. They depend on the event types alone.

pub mod bars;
pub mod json;
pub mod plain;
pub mod text;
