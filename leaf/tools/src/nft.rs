//! `nft`: the kernel's packet filter, as JSON (libnftables-json(5)).

use std::process::Command;

use serde_json::Value;

use crate::command::{CommandError, CommandExt as _};

/// The program.
pub const PROGRAM: &str = "nft";

/// The chains and rules of one table; none when the kernel has no such table.
pub fn table(family: &str, name: &str) -> Result<Option<Value>, CommandError> {
    // Asked for by name, one that is not there cannot be told from a failure.
    if !has_table(&list(&["tables"])?, family, name) {
        return Ok(None);
    }
    list(&["table", family, name]).map(Some)
}

fn list(what: &[&str]) -> Result<Value, CommandError> {
    let text = Command::new(PROGRAM).args(["-j", "-n", "list"]).args(what).read()?;
    serde_json::from_str(&text)
        .map_err(|source| CommandError::Unexpected { program: PROGRAM.to_owned(), source })
}

fn has_table(all: &Value, family: &str, name: &str) -> bool {
    let all = all["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().any(|one| one["table"]["family"] == family && one["table"]["name"] == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_family_and_name() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.1.3"}},
            {"table": {"family": "inet", "name": "bedplate", "handle": 2}}]}"#;
        let all = serde_json::from_str(text).unwrap();
        assert!(has_table(&all, "inet", "bedplate"));
        assert!(!has_table(&all, "ip", "bedplate") && !has_table(&all, "inet", "filter"));
    }
}
