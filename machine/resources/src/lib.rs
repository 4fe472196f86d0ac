//! What converge looks after, one kind at a time: observed, compared with `host.toml`, and made as it says.
//!
//! Architecture invariant: comparing is pure, and nothing is decided while it is done.

pub mod compared;
pub mod context;
pub mod kind;
pub mod status;
