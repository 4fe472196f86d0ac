//! One thin, policy-free module per external tool.
//!
//! Architecture invariant: nothing here prints, decides or knows of `host.toml`.

pub mod command;
pub mod secret;
