//! Failures as people see them.

use bedplate_events::cause::{nobody_reads, texts};
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use bedplate_document::{self as document, Problems};
use bedplate_model::host::HostFile;
use bedplate_planner::PlanError;

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
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ReadError { path: file.clone(), source })?;
    let host = document::text(&bytes, &file).and_then(|text| document::parse(text, &file));
    host.map_err(|problems| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Failure::Document { problems, text }
    })
}

impl Failure {
    /// Writes the failure to standard error, in colour on a terminal.
    pub fn show(&self) {
        let text = self.render(Paint { on: io::stderr().is_terminal() });
        // Nobody is left to be told when standard error is closed.
        drop(io::stderr().write_all(text.as_bytes()));
    }

    /// Whether nobody reads what is written any more.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Other(error) if nobody_reads(error.as_ref()))
    }

    /// The failure and its causes as one text without colour, for documents that programs read.
    pub fn told(&self) -> String {
        match self {
            Self::Other(error) => texts(error.as_ref()).join(": "),
            other => other.render(Paint { on: false }),
        }
    }

    fn render(&self, paint: Paint) -> String {
        match self {
            Self::Document { problems, text } => render_problems(problems, text, paint),
            Self::Refused(error) => render_refusals(error, paint),
            Self::Other(error) => render_chain(error.as_ref(), paint),
        }
    }
}

fn render_refusals(error: &PlanError, paint: Paint) -> String {
    let mut out = String::new();
    let (shown, more) = error.shown();
    for refusal in shown {
        let place = match (&refusal.role, &refusal.id) {
            (Some(role), Some(id)) => format!("{role} ({id}): "),
            _ => String::new(),
        };
        out.push_str(&format!(
            "{}: {}\n  {}: {}\n",
            paint.red("refused"),
            paint.bold(&format!("{place}{}", refusal.message)),
            paint.bold("help"),
            refusal.help
        ));
    }
    if more > 0 {
        out.push_str(&format!("and {more} more\n"));
    }
    out.push_str("nothing was written\n");
    out
}

fn render_chain(error: &dyn Error, paint: Paint) -> String {
    format!("{}: {}\n", paint.red("error"), texts(error).join("\n  caused by: "))
}

/// Problems as rustc shows them: message, place, the line with a caret, help.
pub fn render_problems(problems: &Problems, text: &str, paint: Paint) -> String {
    let mut out = String::new();
    for problem in problems.iter() {
        let number = problem.line.to_string();
        let margin = " ".repeat(number.len());
        let line = text.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
        let shown: String =
            line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect();
        let column = problem.column.saturating_sub(1).min(EXCERPT);
        let width = problem.width.min(EXCERPT.saturating_sub(column)).max(1);
        let caret = format!("{}{}", " ".repeat(column), "^".repeat(width));
        let bar = paint.blue("|");
        out.push_str(&format!(
            "{error}: {message}\n{margin}{arrow} {file}:{at}:{column_number}\n{margin} {bar}\n{line_number} {bar} {shown}\n{margin} {bar} {caret}\n{margin} {bar} {help}: {advice}\n\n",
            error = paint.red("error"),
            message = paint.bold(&problem.message),
            arrow = paint.blue("-->"),
            file = problem.file,
            at = problem.line,
            column_number = problem.column,
            line_number = paint.blue(&number),
            caret = paint.red(&caret),
            help = paint.bold("help"),
            advice = problem.help,
        ));
    }
    if problems.more() > 0 {
        out.push_str(&format!("and {} more\n\n", problems.more()));
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    out.push_str(&format!("{count} {noun}; nothing was done\n"));
    out
}

/// The longest excerpt of a line, in characters.
const EXCERPT: usize = 160;

/// Colours, or none.
#[derive(Clone, Copy)]
pub struct Paint {
    /// Whether to colour.
    pub on: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Bold red.
    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Bold blue.
    pub fn blue(self, text: &str) -> String {
        self.wrap("1;34", text)
    }

    /// Bold in the terminal's own colour.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
}
