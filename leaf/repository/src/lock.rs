//! `flake.lock`: the one input whose lock needs no hash.
//!
//! A path below the flake itself is locked by its name alone. Every other input is left to Nix:
//! a hash is never made up.

use serde_json::{Map, Value, json};

use crate::shipped::{INPUT, PLATFORM};

/// Why a lock is left to Nix.
pub const FORMAT: &str = "flake.lock is not in the format that Nix writes";

/// The lock with our input added; `None` when it is there.
pub fn with_platform(text: &str) -> Result<Option<String>, &'static str> {
    let mut lock: Value = serde_json::from_str(text).map_err(|_| FORMAT)?;
    // Written again by us it must be as Nix wrote it, but for what is added.
    if lock.get("version").and_then(Value::as_u64) != Some(7) || written(&lock) != text.trim_end() {
        return Err(FORMAT);
    }
    let root = lock.get("root").and_then(Value::as_str).ok_or(FORMAT)?.to_owned();
    let nodes = lock.get_mut("nodes").and_then(Value::as_object_mut).ok_or(FORMAT)?;
    let others = (2_u32..).map(|number| format!("{PLATFORM}_{number}"));
    let mut names = std::iter::once(PLATFORM.to_owned()).chain(others);
    let name = names.find(|name| !nodes.contains_key(name)).ok_or(FORMAT)?;
    let inputs = nodes.get_mut(&root).and_then(Value::as_object_mut).ok_or(FORMAT)?;
    let inputs = inputs.entry("inputs").or_insert_with(|| Value::Object(Map::new()));
    let inputs = inputs.as_object_mut().ok_or(FORMAT)?;
    if inputs.contains_key(PLATFORM) {
        return Ok(None);
    }
    inputs.insert(PLATFORM.to_owned(), Value::String(name.clone()));
    let path = INPUT.trim_start_matches("path:");
    let place = json!({ "path": path, "type": "path" });
    nodes.insert(name, json!({ "locked": place, "original": place, "parent": [] }));
    Ok(Some(written(&lock) + "\n"))
}

fn written(lock: &Value) -> String {
    format!("{lock:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped::LOCK;

    const EMPTY: &str =
        "{\n  \"nodes\": {\n    \"root\": {}\n  },\n  \"root\": \"root\",\n  \"version\": 7\n}\n";

    #[test]
    fn an_empty_lock_becomes_the_template_s() {
        assert_eq!(with_platform(EMPTY).unwrap().unwrap(), LOCK);
        assert_eq!(with_platform(LOCK), Ok(None));
    }

    #[test]
    fn a_node_of_that_name_that_is_somebody_else_s_stays() {
        let taken = EMPTY.replace("\"root\": {}", "\"bedplate\": {},\n    \"root\": {}");
        let lock = with_platform(&taken).unwrap().unwrap();
        assert!(lock.contains("\"bedplate\": \"bedplate_2\""), "{lock}");
        assert!(lock.contains("\"bedplate\": {},"), "{lock}");
    }

    #[test]
    fn what_nix_did_not_write_is_left_to_nix() {
        let tight = EMPTY.replace(' ', "");
        let other = EMPTY.replace('7', "6");
        for text in ["", "[]", "{}", tight.as_str(), other.as_str()] {
            assert_eq!(with_platform(text), Err(FORMAT), "{text}");
        }
    }
}
