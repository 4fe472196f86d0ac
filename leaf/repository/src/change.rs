//! What is to be written into a repository, as data.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// Content of files by path, `/` between the parts.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One change; paths are relative to the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new directory, which appears whole or not at all: half a host breaks every host of a
    /// flake that lists directories.
    Directory {
        /// The directory.
        path: String,
        /// Its files, by path below it.
        files: Files,
    },
    /// A new file.
    File {
        /// The file.
        path: String,
        /// Its content.
        content: Vec<u8>,
    },
    /// Text that is added to a file.
    Edit {
        /// The file.
        path: String,
        /// What it holds now; anything else found there is not edited.
        before: String,
        /// What it will hold.
        after: String,
        /// What is added, for people.
        added: Vec<String>,
    },
}

/// The host that the changes add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Its name.
    pub name: String,
    /// Its `host.id`.
    pub id: Uuid,
    /// Its directory.
    pub directory: String,
}

/// What cannot be done here and is left to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Left {
    /// Text that belongs into a file whose layout is not understood.
    Lines {
        /// The file.
        file: String,
        /// Why it was left alone.
        why: String,
        /// The lines, each with where it goes.
        lines: Vec<String>,
    },
    /// The lock does not know all inputs yet.
    Lock {
        /// Why it was not done here.
        why: String,
        /// What does it.
        command: String,
    },
    /// Something else that will see the host's directory.
    Seen {
        /// The directory that it lists.
        directory: String,
        /// Where: file, line and column.
        place: String,
    },
    /// The owner's own call, which gives the host what their other hosts are given.
    Offer {
        /// The file.
        file: String,
        /// What it gives.
        why: String,
        /// The lines.
        lines: Vec<String>,
    },
    /// The vendored platform describes another medium than the one that was named; it stays.
    OtherMedium {
        /// The description that is there.
        file: String,
    },
    /// The repository evaluates, but nothing of it can be built without a medium's description.
    Platform {
        /// The file that is missing.
        file: String,
    },
}

/// Everything that adding a host or starting a repository comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The host.
    pub host: Added,
    /// The changes in the order in which they are written.
    pub changes: Vec<Change>,
    /// What is left.
    pub left: Vec<Left>,
}

/// A change as machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `create` or `edit`.
    pub action: &'static str,
    /// The file.
    pub path: String,
    /// What is added to a file that is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
}

impl Change {
    /// One line for each file.
    pub fn lines(&self) -> Vec<Line> {
        let line = |action, path: &str, added: &[String]| Line {
            action,
            path: path.to_owned(),
            added: added.to_vec(),
        };
        match self {
            Self::Directory { path, files } => {
                files.keys().map(|name| line("create", &format!("{path}/{name}"), &[])).collect()
            }
            Self::File { path, .. } => vec![line("create", path, &[])],
            Self::Edit { path, added, .. } => vec![line("edit", path, added)],
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { action, path, added } in self.lines() {
            writeln!(formatter, "{action:<6}  {path}")?;
            for text in added {
                writeln!(formatter, "        + {text}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines { file, why, lines } => {
                writeln!(formatter, "{file} was left alone: {why}. Add to it:")?;
                lines.iter().try_for_each(|line| writeln!(formatter, "  {line}"))
            }
            Self::Lock { why, command } => {
                writeln!(formatter, "flake.lock is not complete: {why}. Run:\n  {command}")
            }
            Self::Seen { directory, place } => writeln!(
                formatter,
                "{place} lists what stands in {directory}, too, and will see the new host there"
            ),
            Self::Offer { file, why, lines } => {
                writeln!(formatter, "{file}: {why}. Instead of what was added, write:")?;
                lines.iter().try_for_each(|line| writeln!(formatter, "  {line}"))
            }
            Self::OtherMedium { file } => {
                writeln!(formatter, "{file} describes another medium than this one and was kept")
            }
            Self::Platform { file } => writeln!(
                formatter,
                "{file} comes with a medium (`--medium FILE`); until then the flake evaluates, and `toplevel` says that it is missing"
            ),
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| write!(formatter, "{change}"))
    }
}
