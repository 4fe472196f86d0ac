//! `wipefs`, which only ever lists here.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::command::{CommandError, CommandExt as _};

/// A signature that stands on a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// Type as libblkid names it: `btrfs`, `crypto_LUKS`, `vfat`, `gpt`, `dos`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// Label of the file system.
    pub label: Option<String>,
    /// UUID of the file system or identifier of the partition table.
    pub uuid: Option<String>,
}

impl Finding {
    /// One without label and UUID.
    pub fn only(kind: &str) -> Self {
        Self { kind: kind.to_owned(), label: None, uuid: None }
    }
}

/// A list that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WipefsError {
    /// `wipefs` failed.
    #[error("could not list the signatures")]
    Command(#[source] CommandError),
    /// `wipefs` answered something else.
    #[error("`wipefs` answered no list of signatures")]
    Answer(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Answer {
    signatures: Vec<Finding>,
}

/// Every signature on a device or image, one for each place it stands at.
pub fn signatures(path: &Path) -> Result<Vec<Finding>, WipefsError> {
    let mut command = Command::new("wipefs");
    command.args(["--no-act", "--json"]).arg("--").arg(path);
    // Not in the search path of ordinary users on Debian.
    let search = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{search}:/usr/sbin:/sbin"));
    parse(&command.read_bytes().map_err(WipefsError::Command)?)
}

/// Reads what `--json` gives. Some versions say nothing at all of a blank device. Labels are bytes that need be no text, such
/// as those of code page 850 on a VFAT volume: what is none is shown as U+FFFD.
pub fn parse(answer: &[u8]) -> Result<Vec<Finding>, WipefsError> {
    let text = String::from_utf8_lossy(answer);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let answer: Answer = serde_json::from_str(&text).map_err(WipefsError::Answer)?;
    Ok(answer.signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_silence_is_blank() {
        let text = r#"{"signatures": [{"device":"sda", "offset":"0x1fe", "type":"vfat",
            "uuid":"1A2B-3C4D", "label":null}]}"#;
        let found = parse(text.as_bytes()).unwrap();
        assert_eq!((found[0].kind.as_str(), &found[0].label), ("vfat", &None));
        assert_eq!(found[0].uuid.as_deref(), Some("1A2B-3C4D"));
        assert_eq!(parse(b"\n").unwrap(), []);
        assert!(parse(b"wipefs: error").is_err());
    }

    #[test]
    fn t06_a_label_that_is_no_text_is_shown_and_no_error() {
        let answer =
            b"{\"signatures\": [{\"type\":\"vfat\", \"uuid\":null, \"label\":\"M\x9aLL\"}]}";
        let found = parse(answer).unwrap();
        assert_eq!(found[0].label.as_deref(), Some("M\u{fffd}LL"));
    }
}
