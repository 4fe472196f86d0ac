//! What all programs that measure share.

use std::path::Path;
use std::process::ExitCode;

use tempfile::TempDir;

use crate::failure::{Failure, file};

/// A directory that goes with the program; not in `/tmp`, which may be memory.
pub fn directory() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("bedplate-bench-").tempdir_in("/var/tmp");
    made.map_err(file("make a directory in", Path::new("/var/tmp")))
}

/// Tells why nothing could be measured.
pub fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}
