//! Failures as people see them.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anstream::adapter::strip_str;
use bedplate_document::{self as document, Problems};
use bedplate_events::cause::{nobody_reads, texts};
use bedplate_events::shown::shown_line;
use bedplate_model::host::{HostFile, Platform};
use bedplate_planner::PlanError;
use bedplate_render::excerpt::Excerpt;
use bedplate_render::style::{BAD, STRONG, paint};
use serde_json::{Value, json};

use crate::missing;

/// Far more than any document has; what has no end is not waited for.
const MOST_OF_INPUT: u64 = 16 << 20;

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

/// Reads and validates a `host.toml`, of which `-` is standard input.
pub fn read_host_or_input(path: &Path) -> Result<HostFile, Failure> {
    if path != Path::new("-") {
        return read_host(path);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_OF_INPUT).read_to_end(&mut bytes);
    read.map_err(|source| ReadError { path: "standard input".into(), source })?;
    let text = text_of(bytes, "standard input")?;
    document::parse(&text, "standard input")
        .map_err(|problems| Failure::Document { problems, text })
}

/// A machine that nobody can log in to: its users have no passwords.
#[derive(Debug, thiserror::Error)]
#[error(
    "nobody could ever log in to {name}: no user of host.toml has an ssh key. Nothing was written\n  help: write the public key (~/.ssh/id_ed25519.pub) to `host.users.NAME.ssh_keys`"
)]
pub struct NoLogin {
    name: String,
}

/// Refuses a document whose machine nobody could log in to. On NixOS the owner's own modules may let somebody in.
pub fn expect_login(host: &HostFile) -> Result<(), NoLogin> {
    let has_key = host.host.users.values().any(|user| !user.ssh_keys.is_empty());
    if has_key || host.host.platform == Platform::Nixos {
        return Ok(());
    }
    Err(NoLogin { name: host.host.name.to_string() })
}

/// Reads a text file that people may have saved in another encoding, which is told then.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ReadError { path: file.clone(), source })?;
    text_of(bytes, &file)
}

fn text_of(bytes: Vec<u8>, file: &str) -> Result<String, Failure> {
    let told = document::text(&bytes, file).err();
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

    /// Writes the mistakes to standard output, for machines.
    pub fn list(&self) {
        let list = json!({ "schema": 1, "mistakes": self.mistakes() });
        // Nobody is left to be told when standard output is closed.
        drop(json(&list).map(|text| writeln!(io::stdout(), "{text}")));
    }

    /// Each mistake for machines: where it is, when that is known, and what to do.
    pub fn mistakes(&self) -> Vec<Value> {
        match self {
            Self::Document { problems, .. } => problems
                .iter()
                .map(|one| {
                    json!({ "line": one.line, "column": one.column, "message": one.message, "help": one.help })
                })
                .collect(),
            Self::Refused(error) => error
                .shown()
                .0
                .iter()
                .map(|one| json!({ "role": one.role, "id": one.id, "message": one.message, "help": one.help }))
                .collect(),
            Self::Other(_) => vec![json!({ "message": self.told() })],
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

fn render_chain(error: &(dyn Error + 'static)) -> String {
    // Lines are our own, such as those of help. What stands in them may quote a file (T18, T59).
    let told = |text: &String| brief(text).lines().map(shown_line).collect::<Vec<_>>().join("\n");
    let told: Vec<String> = texts(error).iter().map(told).collect();
    let help = missing::help(error).map(|text| format!("  {}: {text}\n", paint(STRONG, "help")));
    let causes = told.join("\n  caused by: ");
    format!("{}: {causes}\n{}", paint(BAD, "error"), help.unwrap_or_default())
}

/// Nobody sits at a terminal where something is to be typed.
#[derive(Debug, thiserror::Error)]
#[error("{what} is typed at a terminal, and there is none here{instead}. Nothing was written")]
pub struct NoTerminal {
    what: &'static str,
    instead: &'static str,
}

/// Refuses to ask where nobody could type; `instead` is what else could be done, with a comma before it.
pub fn expect_terminal(what: &'static str, instead: &'static str) -> Result<(), NoTerminal> {
    if io::stdin().is_terminal() { Ok(()) } else { Err(NoTerminal { what, instead }) }
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
        let line = lines.get(problem.line.saturating_sub(1)).copied().unwrap_or_default();
        let excerpt = Excerpt {
            file: &problem.file,
            text: &problem.shown_in(line),
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
