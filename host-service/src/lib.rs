//! bedplate-host as a library.

pub mod activation;
pub mod backup;
pub mod bridge;
pub mod command;
pub mod converge;
pub mod esp_mirror;
pub mod firewall;
pub mod generation;
pub mod handoff;
pub mod host_key;
pub mod intent;
pub mod lab;
pub mod nfs;
pub mod notify;
pub mod pool;
pub mod restore;
pub mod secret;
pub mod show;
pub mod system;
pub mod update;
pub mod wear;
