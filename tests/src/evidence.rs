//! What was seen of a machine: answers of programs by name. Data, so that it can be kept,
//! looked at and judged again.

use std::collections::BTreeMap;

use bedplate_qemu_harness::ssh::Answer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of what is noted when the machine's VM did not report in time.
pub const LATE: &str = "guest.late";

/// Answers by the name of their question.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence(pub BTreeMap<String, Answer>);

impl Evidence {
    /// Keeps an answer.
    pub fn put(&mut self, name: &str, answer: Answer) {
        self.0.insert(name.to_owned(), answer);
    }

    /// Keeps something that was seen from outside of the machine.
    pub fn note(&mut self, name: &str, text: impl Into<String>) {
        self.put(name, Answer { stdout: text.into(), ..Answer::default() });
    }

    /// What a program wrote. No answer, or one of failure, is an error that says so.
    pub fn text(&self, name: &str) -> Result<&str, String> {
        match self.0.get(name) {
            None => Err(format!("`{name}` was not looked at")),
            Some(answer) if answer.status != 0 => {
                Err(format!("`{name}` ended with {}: {}", answer.status, last_line(answer)))
            }
            Some(answer) => Ok(answer.stdout.trim_end()),
        }
    }

    /// As [`Evidence::text`], but nothing written is an error too.
    pub fn some_text(&self, name: &str) -> Result<&str, String> {
        match self.text(name)? {
            "" => Err(format!("`{name}` showed nothing")),
            text => Ok(text),
        }
    }

    /// What a program wrote, as JSON.
    pub fn json(&self, name: &str) -> Result<Value, String> {
        serde_json::from_str(self.some_text(name)?)
            .map_err(|error| format!("`{name}` is no JSON: {error}"))
    }
}

fn last_line(answer: &Answer) -> &str {
    answer.stderr.trim_end().lines().last().unwrap_or("no message")
}
