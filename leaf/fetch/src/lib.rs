//! Files over HTTP and HTTPS: with limits, checked by their hash, unpacked.

pub mod download;
pub mod extract;
pub mod http;
