//! `ip` and `bridge` of iproute2: links, neighbours and what bridges have learned, as JSON.

use std::process::Command;

use serde_json::Value;

use crate::command::{CommandError, CommandExt as _};

/// An answer that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IpError {
    /// It failed.
    #[error("the network could not be looked at")]
    Command(#[from] CommandError),
    /// It said something that is no JSON.
    #[error("`ip` answered in a way that cannot be read")]
    Answer(#[from] serde_json::Error),
}

/// Every link with its addresses and what kind it is.
pub fn addresses() -> Result<Value, IpError> {
    read("ip", &["-details", "-json", "address", "show"])
}

/// Default routes of version 4 through a link.
pub fn default_routes(link: &str) -> Result<Value, IpError> {
    read("ip", &["-4", "-json", "route", "show", "default", "dev", link])
}

/// Who was asked for, or heard of, on a link.
pub fn neighbours(link: &str) -> Result<Value, IpError> {
    read("ip", &["-json", "neighbour", "show", "dev", link])
}

/// Forgets who was heard of on a link.
pub fn forget_neighbours(link: &str) -> Result<(), CommandError> {
    Command::new("ip").args(["neighbour", "flush", "dev", link]).run()
}

/// Which addresses a bridge has seen behind which port.
pub fn learned(bridge: &str) -> Result<Value, IpError> {
    read("bridge", &["-json", "fdb", "show", "br", bridge])
}

/// Nothing at all is said where there is nothing.
fn read(program: &str, arguments: &[&str]) -> Result<Value, IpError> {
    let text = Command::new(program).args(arguments).read()?;
    let text = if text.trim().is_empty() { "[]" } else { &text };
    Ok(serde_json::from_str(text)?)
}
