//! `host.toml`, facts, plan and events: the pure heart of Bedplate.
//!
//! Architecture invariant: nothing in this crate reads a file, a clock, a random
//! number generator or a C library. Facts and text go in, plans and events come out.

pub mod answers;
pub mod boot;
pub mod document;
pub mod event;
pub mod facts;
pub mod hardware;
pub mod host;
pub mod identity;
pub mod passphrase;
pub mod plan;
pub mod planner;
pub mod platform;
pub mod pool_history;
pub mod remote;
pub mod repository_tree;
pub mod shown;
pub mod system_image;
