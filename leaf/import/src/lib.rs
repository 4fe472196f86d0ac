//! Machines as other tools describe them, turned into text of `host.toml`.
//!
//! Text in, text out: nothing is read or written here. What cannot be carried over is named, and
//! never guessed.

pub mod ansible;
mod machine;
