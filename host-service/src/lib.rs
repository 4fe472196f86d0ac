//! bedplate-host as a library.

pub mod backup;
pub mod bridge;
pub mod command;
pub mod converge;
pub mod esp_mirror;
pub mod etc;
pub mod everything;
pub mod firewall;
pub mod handoff;
pub mod host_key;
pub mod lab;
pub mod nfs;
pub mod notify;
pub mod pool;
pub mod restore;
pub mod secret;
pub mod show;
pub mod wear;
