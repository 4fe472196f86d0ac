//! What is wrong with a document, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use crate::hidden::hidden;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters of that line are meant; at least 1.
    pub width: usize,
    /// The key, such as `pools.bulk.disks`; empty for the document.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Problem {
    /// Its line as it may be shown: what may be a secret is drawn as stars, and everything keeps its place.
    pub fn shown_in(&self, line: &str) -> String {
        hidden(line, &self.key)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, .. } = self;
        write!(formatter, "{file}:{line}:{column}: {message}\n  help: {help}")
    }
}

/// A problem with the bytes of the text that it is about: where they stand is looked up for those
/// that are shown.
#[derive(Debug)]
pub(super) struct Marked {
    pub(super) span: Range<usize>,
    pub(super) key: String,
    pub(super) message: String,
    pub(super) help: String,
}

impl Marked {
    /// The problem in its line, which begins after so many others.
    fn place(self, text: &str, file: &str, lines_before: usize) -> Problem {
        let start = floor(text, self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |end| start + end);
        let end = floor(text, self.span.end).clamp(start, line_end);
        Problem {
            file: file.to_owned(),
            line: lines_before + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            key: self.key,
            message: self.message,
            help: self.help,
        }
    }
}

fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// So many problems are shown: more than anybody corrects at once.
const SHOWN: usize = 100;

/// The problems of a document, in the order of the text: the first of them, and how many more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    shown: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// The problems, sorted by position.
    pub(super) fn new(text: &str, file: &str, mut problems: Vec<Marked>) -> Self {
        let order =
            |a: &Marked, b: &Marked| (a.span.start, &a.message).cmp(&(b.span.start, &b.message));
        problems.sort_by(order);
        problems.dedup_by(|a, b| order(a, b).is_eq());
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        let (mut counted, mut lines) = (0, 0);
        let place = |problem: Marked| {
            let start = floor(text, problem.span.start);
            lines += text[counted..start].matches('\n').count();
            counted = start;
            problem.place(text, file, lines)
        };
        Self { shown: problems.into_iter().map(place).collect(), more }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// How many there are, with those that are not shown.
    pub fn len(&self) -> usize {
        self.shown.len() + self.more
    }

    /// The problems that are shown, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.shown.iter()
    }

    /// How many there are beside those that are shown.
    pub fn more(&self) -> usize {
        self.more
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.shown.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{problem}")?;
        }
        if self.more > 0 {
            write!(formatter, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Text of the user's as it may be shown: in backticks, shortened, nothing unprintable (T18).
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|c| {
            let plain = matches!(c, '"' | '\'' | '\\');
            let escaped = if plain { None } else { Some(c.escape_debug()) };
            escaped.into_iter().flatten().chain(plain.then_some(c))
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn t18_control_characters_are_escaped() {
        assert_eq!(quote("a\u{1b}[31m\nb\u{202e}"), "`a\\u{1b}[31m\\nb\\u{202e}`");
        assert_eq!(quote("it's \"x\""), "`it's \"x\"`");
        assert_eq!(quote(&"x".repeat(80)).chars().count(), 63);
    }
}
