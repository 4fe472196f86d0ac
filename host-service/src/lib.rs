//! bedplate-host as a library.

pub mod activation;
pub mod atomic;
pub mod backup;
pub mod bridge;
mod chain;
pub mod command;
pub mod context;
pub mod converge;
pub mod digest;
pub mod download;
pub mod each;
pub mod esp_mirror;
pub mod extract;
pub mod firewall;
pub mod generation;
pub mod handoff;
pub mod host_key;
mod http_client;
pub mod in_time;
pub mod intent;
pub mod kind;
pub mod lab;
pub mod mounts;
pub mod nfs;
pub mod notify;
pub mod pool;
pub mod restore;
#[cfg(test)]
mod sample;
pub mod secret;
pub mod show;
pub mod system;
pub mod update;
pub mod vm;
pub mod wear;
