//! Secrets that lie encrypted in a repository, and the key of the host that opens them.
//!
//! Architecture invariant: a leaf on `tools`. Nothing here reads a file, runs a program, prints or
//! knows `host.toml`; text and bytes go in, [`bedplate_tools::secret::Secret`] comes out. What is
//! decrypted is handed out only when the whole file is authentic.

pub mod age_file;
pub mod sops;
pub mod sops_config;
pub mod ssh;

/// No secret, and no file with secrets, is longer.
pub const LIMIT: usize = 1 << 20;
