//! What Nix says with `--log-format internal-json`: lines `@nix {…}` (`src/libutil/logging.cc` and
//! `logging.hh` of Nix, version 2.26) turned into how far it is.
//!
//! Bytes in, progress out. The lines come from a program that quotes builders and servers, so every
//! line and list is bounded, and what is no such line is kept for people only.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A longer line is dropped, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Activities that are kept track of at once.
const MOST_ACTIVITIES: usize = 4096;

/// How much of what it said for people is kept, in bytes.
const TAIL: usize = 2000;

/// `ActivityType` and `ResultType`.
const COPY_PATH: u64 = 100;
const FILE_TRANSFER: u64 = 101;
const BUILDS: u64 = 104;
const BUILD: u64 = 105;
const FETCH_TREE: u64 = 112;
const PROGRESS: u64 = 105;
const SET_EXPECTED: u64 = 106;

/// Messages of this level and below (`Verbosity`) are errors and warnings.
const WARNING: u64 = 1;

/// How far Nix is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of store paths that were copied, unpacked.
    pub copied: u64,
    /// Of how many, as far as is known by now.
    pub to_copy: u64,
    /// Derivations that were built.
    pub built: u64,
    /// Of how many, as far as is known by now.
    pub to_build: u64,
    /// What was begun last, for people.
    pub at: Option<String>,
}

impl Progress {
    /// Whether nothing was built or copied yet. What is expected is no sign: Nix expects a build
    /// before it looks whether its output is there.
    pub fn is_nothing(&self) -> bool {
        self.built == 0 && self.copied == 0
    }
}

/// Reads the log as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// The line that is being read is too long.
    dropping: bool,
    activities: BTreeMap<u64, Activity>,
    /// Bytes copied by activities that are over.
    copied: u64,
    built: u64,
    to_build: u64,
    at: Option<String>,
    tail: String,
}

#[derive(Debug)]
struct Activity {
    kind: u64,
    /// Bytes it has copied itself.
    copied: u64,
    /// Bytes it expects others to copy.
    expects: u64,
}

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    level: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    text: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    fields: Vec<Value>,
}

impl Line {
    fn number(&self, index: usize) -> u64 {
        self.fields.get(index).and_then(Value::as_u64).unwrap_or_default()
    }
}

impl Reader {
    /// Reads more of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.dropping) {
                    self.take(&line);
                }
            } else if self.line.len() == LONGEST_LINE {
                self.dropping = true;
            } else {
                self.line.push(*byte);
            }
        }
    }

    /// How far it is by now.
    pub fn progress(&self) -> Progress {
        let sum = |part: fn(&Activity) -> u64| {
            self.activities.values().map(part).fold(0, u64::saturating_add)
        };
        let copied = self.copied.saturating_add(sum(|activity| activity.copied));
        Progress {
            copied,
            to_copy: sum(|activity| activity.expects).max(copied),
            built: self.built,
            to_build: self.to_build.max(self.built),
            at: self.at.clone(),
        }
    }

    /// The end of what it said for people, without colours.
    pub fn tail(&self) -> &str {
        self.tail.trim()
    }

    fn take(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let Some(json) = text.strip_prefix("@nix ") else { return self.say(&text) };
        // What a later version says otherwise is passed over.
        let Ok(line) = serde_json::from_str::<Line>(json) else { return };
        match line.action.as_str() {
            "start" => self.start(&line),
            "stop" => self.stop(line.id),
            "result" => self.result(&line),
            "msg" if line.level <= WARNING => self.say(&line.msg),
            _ => {}
        }
    }

    fn start(&mut self, line: &Line) {
        if matches!(line.kind, COPY_PATH | FILE_TRANSFER | BUILD | FETCH_TREE)
            && !line.text.is_empty()
        {
            self.at = Some(plain(&line.text));
        }
        if self.activities.len() < MOST_ACTIVITIES {
            let activity = Activity { kind: line.kind, copied: 0, expects: 0 };
            self.activities.insert(line.id, activity);
        }
    }

    fn stop(&mut self, id: u64) {
        let Some(activity) = self.activities.remove(&id) else { return };
        self.copied = self.copied.saturating_add(activity.copied);
        // Whoever expected it is over before the whole: what it expected came, or never will.
    }

    fn result(&mut self, line: &Line) {
        let Some(activity) = self.activities.get_mut(&line.id) else { return };
        match (line.kind, activity.kind) {
            (PROGRESS, COPY_PATH) => activity.copied = line.number(0),
            (PROGRESS, BUILDS) => (self.built, self.to_build) = (line.number(0), line.number(1)),
            (SET_EXPECTED, _) if line.number(0) == COPY_PATH => activity.expects = line.number(1),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        self.tail.push_str(&plain(text));
        self.tail.push('\n');
        let mut cut = self.tail.len().saturating_sub(TAIL);
        while !self.tail.is_char_boundary(cut) {
            cut += 1;
        }
        self.tail.drain(..cut);
    }
}

/// Text without the sequences that colour it (ECMA-48, section 5.4: `ESC [`, parameters, a letter).
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        } else if !character.is_control() || character == '\n' {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Nix 2.26 said while it substituted two paths from a binary cache in a directory; most
    /// of the lines with nothing but progress were left out.
    const SUBSTITUTION: &[u8] = include_bytes!("nix_log/substitution.log");

    #[test]
    fn a_build_that_is_only_expected_is_nothing_and_one_that_was_done_is_not() {
        let mut reader = Reader::default();
        reader.feed(br#"@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}"#);
        reader.feed(b"\n");
        let told = |done: u64| {
            format!(
                "@nix {{\"action\":\"result\",\"fields\":[{done},1,0,0],\"id\":1,\"type\":105}}\n"
            )
        };
        reader.feed(told(0).as_bytes());
        assert_eq!((reader.progress().to_build, reader.progress().is_nothing()), (1, true));
        reader.feed(told(1).as_bytes());
        assert!(!reader.progress().is_nothing());
    }

    /// What it said of three derivations to build, the last of which failed.
    const BUILD_LOG: &str = r#"@nix {"action":"start","id":8753143349250,"level":0,"parent":0,"text":"","type":104}
@nix {"action":"result","fields":[0,1,0,0],"id":8753143349250,"type":105}
@nix {"action":"result","fields":[0,3,0,0],"id":8753143349250,"type":105}
@nix {"action":"msg","level":3,"msg":"these 3 derivations will be built:"}
@nix {"action":"stop","id":8753143349250}
__build-remote: error while loading shared libraries
@nix {"action":"msg","column":null,"file":null,"level":0,"line":null,"msg":"\u001b[31;1merror:\u001b[0m\n       … while reading the response from the build hook"}
"#;

    #[test]
    fn a_substitution_is_followed_byte_by_byte() {
        let mut reader = Reader::default();
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for byte in SUBSTITUTION {
            reader.feed(&[*byte]);
            let Progress { copied, to_copy, .. } = reader.progress();
            if to_copy > 0 && seen.last() != Some(&(copied, to_copy)) {
                seen.push((copied, to_copy));
            }
        }
        assert!(seen.is_sorted_by_key(|(copied, _)| *copied), "{seen:?}");
        assert_eq!(seen.first(), Some(&(0, 40_000_112)));
        assert!(seen.contains(&(0, 40_000_232)), "{seen:?}");
        assert!(seen.iter().filter(|(copied, _)| *copied > 1_000_000).count() > 3, "{seen:?}");
        let at = reader.progress().at.unwrap();
        assert!(at.starts_with("copying path '/nix/store/ypyzn"), "{at}");
        assert_eq!(reader.tail(), "");
    }

    #[test]
    fn builds_are_counted_and_what_went_wrong_is_kept_without_colours() {
        let mut reader = Reader::default();
        reader.feed(BUILD_LOG.as_bytes());
        let progress = reader.progress();
        assert_eq!((progress.built, progress.to_build), (0, 3));
        assert_eq!(
            reader.tail(),
            "__build-remote: error while loading shared libraries\nerror:\n       … while reading \
             the response from the build hook"
        );
    }

    #[test]
    fn t13_t18_garbage_takes_no_memory_and_reaches_no_terminal() {
        let mut reader = Reader::default();
        reader.feed(&vec![b'x'; 3 * LONGEST_LINE]);
        assert!(reader.line.len() <= LONGEST_LINE);
        reader.feed(b"\n");
        assert_eq!(reader.tail(), "", "a line that is too long is dropped whole");
        for number in 0..2 * MOST_ACTIVITIES {
            let line = format!("@nix {{\"action\":\"start\",\"id\":{number},\"type\":100}}\n");
            reader.feed(line.as_bytes());
            let all = u64::MAX;
            let line = format!(
                "@nix {{\"action\":\"result\",\"id\":{number},\"type\":105,\"fields\":[{all}]}}\n"
            );
            reader.feed(line.as_bytes());
        }
        assert_eq!(reader.activities.len(), MOST_ACTIVITIES);
        assert_eq!(reader.progress().copied, u64::MAX);
        let crafted = [
            "@nix {",
            "@nix []",
            "@nix {\"action\":\"result\",\"id\":0,\"type\":105,\"fields\":[\"x\",-1]}",
            "@nix {\"action\":7}",
            "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31mred",
            "@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"\\u001b\\u001b[\\u0000x\"}",
        ];
        for line in crafted {
            reader.feed(line.as_bytes());
            reader.feed(b"\n\xff\xfe\n");
        }
        assert!(!reader.tail().chars().any(|c| c.is_control() && c != '\n'), "{:?}", reader.tail());
        for _ in 0..1000 {
            reader.feed("é said the builder\n".as_bytes());
        }
        assert!(reader.tail().len() <= TAIL);
    }
}
