//! What restic writes, and what it means.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Snapshot, Summary};

/// More of what could not be read is counted and not named.
const NAMED: usize = 5;
/// More of one name or reason is not kept.
const LONGEST: usize = 300;

/// What a backup could not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unread {
    /// How much.
    pub count: usize,
    /// The first of it, with its path and why.
    pub first: Vec<String>,
}

impl Unread {
    /// Takes a line of what restic writes to stderr: a JSON object for each, with text of the file system
    /// in it. There may be millions.
    pub(super) fn hear(&mut self, line: &[u8]) {
        let Some(complaint) = complaint(&String::from_utf8_lossy(line)) else { return };
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(complaint);
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first.is_empty() {
            return formatter.write_str("restic did not say what");
        }
        formatter.write_str(&self.first.join("; "))?;
        match self.count.saturating_sub(self.first.len()) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// A line of `--json` that tells of one thing that could not be read.
#[derive(Deserialize)]
struct Said {
    message_type: String,
    #[serde(default)]
    item: String,
    error: Option<Why>,
}

#[derive(Deserialize)]
struct Why {
    #[serde(default)]
    message: String,
}

fn complaint(line: &str) -> Option<String> {
    let said: Said =
        serde_json::from_str(line).ok().filter(|one: &Said| one.message_type == "error")?;
    let why = said.error.map(|why| why.message).unwrap_or_default();
    let short =
        |text: &str| text.chars().take(LONGEST).flat_map(char::escape_debug).collect::<String>();
    Some(format!("{} ({})", short(&said.item), short(&why)))
}

/// Something in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Its path on the machine.
    pub path: PathBuf,
    /// Bytes of a file, holes with them; 0 for anything else.
    #[serde(default)]
    pub size: u64,
}

/// A line of `ls`; none when it is about the snapshot.
pub(super) fn node(line: &[u8]) -> Option<Node> {
    serde_json::from_slice(line).ok()
}

/// The last line that names a snapshot.
pub(super) fn summary(stdout: &[u8]) -> Option<Summary> {
    let text = String::from_utf8_lossy(stdout);
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    remove: Option<Vec<Id>>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// The ids that `forget` chose.
pub(super) fn forgotten(stdout: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(stdout);
    let groups = text.lines().find_map(|line| serde_json::from_str::<Vec<Group>>(line).ok());
    let chosen =
        groups.unwrap_or_default().into_iter().flat_map(|group| group.remove.unwrap_or_default());
    chosen.map(|one| one.id).collect()
}

/// Oldest first, by time and not by its text: clocks are put forward and back, and zones change. What
/// was stored anew under another id is there once.
pub(super) fn newest_last(mut found: Vec<Snapshot>) -> Vec<Snapshot> {
    let complete = found.iter().filter(|one| one.is_complete());
    let anew: BTreeSet<String> = complete.filter_map(|one| one.original.clone()).collect();
    found.retain(|one| !anew.contains(&one.id));
    found.sort_by_cached_key(|one| OffsetDateTime::parse(&one.time, &Rfc3339).ok());
    found
}

#[cfg(test)]
mod tests {
    use super::super::INCOMPLETE;
    use super::*;

    fn snapshot(id: &str, time: &str, tags: &[&str], original: Option<&str>) -> Snapshot {
        Snapshot {
            id: id.into(),
            time: time.into(),
            hostname: "hv".into(),
            paths: Vec::new(),
            summary: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            original: original.map(str::to_owned),
        }
    }

    #[test]
    fn the_summary_is_the_last_line_that_names_a_snapshot() {
        let output = b"{\"message_type\":\"status\"}\n{\"message_type\":\"summary\",\"snapshot_id\":\"ab\",\"data_added\":3}\n";
        let found = summary(output).unwrap();
        assert_eq!((found.snapshot_id.as_str(), found.data_added), ("ab", 3));
        assert_eq!(summary(b""), None);
    }

    #[test]
    fn t48_what_could_not_be_read_is_named_escaped_and_not_without_end() {
        let line = |item: &str| {
            let item = serde_json::to_string(item).unwrap();
            format!(
                r#"{{"message_type":"error","error":{{"message":"read: input/output error"}},"during":"archival","item":{item}}}"#
            )
        };
        let stderr: String = (0..7).map(|one| line(&format!("mnt/\u{1b}{one}")) + "\n").collect();
        let stderr = stderr + r#"{"message_type":"exit_error","code":3,"message":"Warning"}"#;
        let mut found = Unread::default();
        stderr.lines().for_each(|line| found.hear(line.as_bytes()));
        assert_eq!(found.count, 7);
        let text = found.to_string();
        assert!(text.starts_with("mnt/\\u{1b}0 (read: input/output error); "), "{text}");
        assert!(text.ends_with(" and 2 more"), "{text}");
        let mut silent = Unread::default();
        silent.hear(b"?");
        assert_eq!(silent.to_string(), "restic did not say what");
    }

    #[test]
    fn t48_the_newest_is_so_by_its_time_and_what_was_stored_anew_is_there_once() {
        let marked = ["bedplate-a", INCOMPLETE];
        let found = newest_last(vec![
            // 09:30 in summer, and an hour and a half later by another clock.
            snapshot("late", "2026-10-25T09:00:00+01:00", &marked, None),
            snapshot("early", "2026-10-25T09:30:00.5+02:00", &["bedplate-a"], Some("first")),
            snapshot("first", "2026-10-25T09:30:00.5+02:00", &marked, None),
        ]);
        let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["early", "late"]);
        assert!(found[0].is_complete() && !found[1].is_complete());
        assert!(
            found[0].is_called("fir") && found[0].is_called("early") && !found[0].is_called("")
        );
    }

    #[test]
    fn what_forget_chose_is_read_and_what_a_snapshot_holds_is_listed() {
        let stdout = br#"[{"tags":["a"],"keep":[{"id":"k"}],"remove":null},{"remove":[{"id":"x"},{"id":"y"}]}]"#;
        assert_eq!(forgotten(stdout), ["x".to_owned(), "y".to_owned()].into());
        assert!(forgotten(b"").is_empty());
        assert_eq!(node(br#"{"time":"t","paths":["/a"],"struct_type":"snapshot"}"#), None);
        let file =
            node(br#"{"name":"f","type":"file","path":"/mnt/f","size":7,"struct_type":"node"}"#);
        assert_eq!(file, Some(Node { path: "/mnt/f".into(), size: 7 }));
        assert_eq!(node(br#"{"path":"/mnt","type":"dir"}"#).unwrap().size, 0);
    }
}
