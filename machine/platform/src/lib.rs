//! The embedded platform: what a toplevel contains, its activation, generations on the ESP, and updates.

pub mod activation;
pub mod generation;
pub mod intent;
pub mod toplevel;
pub mod update;
