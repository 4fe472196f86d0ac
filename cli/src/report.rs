//! Failures as people see them.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;

use anstream::adapter::strip_str;
use bedplate_document::{self as document, Problems};
use bedplate_events::cause::{nobody_reads, texts};
use bedplate_events::shown::shown_line;
use bedplate_model::host::HostFile;
use bedplate_planner::PlanError;
use bedplate_render::excerpt::Excerpt;
use bedplate_render::style::{BAD, STRONG, paint};

/// Why a subcommand failed.
#[derive(Debug)]
pub enum Failure {
    /// The document is wrong.
    Document {
        /// The problems.
        problems: Problems,
        /// The document, for excerpts.
        text: String,
    },
    /// The plan is refused.
    Refused(PlanError),
    /// Anything else.
    Other(Box<dyn Error>),
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(Box::new(error))
    }
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {path}")]
pub struct ReadError {
    path: String,
    #[source]
    source: io::Error,
}

impl ReadError {
    /// Of a file, or of something else that is read.
    pub fn new(path: String, source: io::Error) -> Self {
        Self { path, source }
    }
}

/// A document for machines that does no harm on a terminal: JSON leaves some control characters
/// as they are, and names of disks may hold any.
pub fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let mut shown = String::new();
    for character in serde_json::to_string_pretty(value)?.chars() {
        if character.is_control() && character != '\n' {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Ok(shown)
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String, ReadError> {
    std::fs::read_to_string(path)
        .map_err(|source| ReadError { path: path.display().to_string(), source })
}

/// Reads and validates a `host.toml`.
pub fn read_host(path: &Path) -> Result<HostFile, Failure> {
    let text = read_text(path)?;
    document::parse(&text, &path.display().to_string())
        .map_err(|problems| Failure::Document { problems, text })
}

/// Reads a text file that people may have saved in another encoding, which is told then.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ReadError { path: file.clone(), source })?;
    let told = document::text(&bytes, &file).err();
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    match told {
        None => Ok(text),
        Some(problems) => Err(Failure::Document { problems, text }),
    }
}

impl Failure {
    /// Writes the failure to standard error, in colour where that is wished for.
    pub fn show(&self) {
        // Nobody is left to be told when standard error is closed.
        drop(anstream::stderr().write_all(self.render().as_bytes()));
    }

    /// Whether nobody reads what is written any more.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Other(error) if nobody_reads(error.as_ref()))
    }

    /// The failure and its causes as one text without colour, for documents that programs read.
    pub fn told(&self) -> String {
        match self {
            Self::Other(error) => texts(error.as_ref()).join(": "),
            other => strip_str(&other.render()).to_string(),
        }
    }

    fn render(&self) -> String {
        match self {
            Self::Document { problems, text } => render_problems(problems, text),
            Self::Refused(error) => render_refusals(error),
            Self::Other(error) => render_chain(error.as_ref()),
        }
    }
}

fn render_refusals(error: &PlanError) -> String {
    let mut out = String::new();
    let (shown, more) = error.shown();
    for refusal in shown {
        let place = match (&refusal.role, &refusal.id) {
            (Some(role), Some(id)) => format!("{role} ({id}): "),
            _ => String::new(),
        };
        out.push_str(&format!(
            "{}: {}\n  {}: {}\n",
            paint(BAD, "refused"),
            paint(STRONG, format!("{place}{}", refusal.message)),
            paint(STRONG, "help"),
            refusal.help
        ));
    }
    if more > 0 {
        out.push_str(&format!("and {more} more\n"));
    }
    out.push_str("nothing was written\n");
    out
}

fn render_chain(error: &dyn Error) -> String {
    // Lines are our own, such as those of help. What stands in them may quote a file (T18, T59).
    let told = |text: &String| brief(text).lines().map(shown_line).collect::<Vec<_>>().join("\n");
    let told: Vec<String> = texts(error).iter().map(told).collect();
    format!("{}: {}\n", paint(BAD, "error"), told.join("\n  caused by: "))
}

/// More of what went wrong fills the screen.
const MOST: usize = 2000;

/// A text whose middle is left out when it is long: what quotes a file says at its end where.
fn brief(text: &str) -> Cow<'_, str> {
    let cut = |at: usize| text.char_indices().nth(at).map(|(index, _)| index);
    let end = text.char_indices().rev().nth(MOST / 4).map_or(0, |(index, _)| index);
    match cut(MOST).and_then(|_| cut(MOST / 2)) {
        Some(start) => Cow::Owned(format!("{} … {}", &text[..start], &text[end..])),
        None => Cow::Borrowed(text),
    }
}

/// Problems, each with the line where it stands.
fn render_problems(problems: &Problems, text: &str) -> String {
    let mut out = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for problem in problems.iter() {
        let excerpt = Excerpt {
            file: &problem.file,
            text: lines.get(problem.line.saturating_sub(1)).copied().unwrap_or_default(),
            line: problem.line,
            column: problem.column,
            width: problem.width,
            message: &problem.message,
            help: &problem.help,
        };
        out.push_str(&format!("{}\n", excerpt.render()));
    }
    if problems.more() > 0 {
        out.push_str(&format!("and {} more\n\n", problems.more()));
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    out.push_str(&format!("{count} {noun}; nothing was done\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t59_what_an_inventory_quotes_moves_no_cursor_and_fills_no_screen() {
        let long = "x".repeat(1 << 20);
        for evil in ["\u{1b}[2J", "\u{9b}2J", "\u{202e}", "\u{200b}", "a\rb", &long] {
            let text = serde_json::json!({ "schema": 1, "firmware": evil }).to_string();
            let error = serde_json::from_str::<bedplate_model::facts::Facts>(&text).unwrap_err();
            let told = strip_str(&render_chain(&error)).to_string();
            assert!(!told.contains(evil) && told.len() < 4000, "{told:?}");
            assert!(told.contains("unknown variant") && told.contains("at line 1"), "{told:?}");
        }
        let lines = std::io::Error::other("wrong\n  help: write it");
        assert!(render_chain(&lines).ends_with("wrong\n  help: write it\n"));
    }
}
