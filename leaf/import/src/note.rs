//! What the reader of an imported text should know.

use std::fmt;

use bedplate_libvirt::xml::Element;
use bedplate_yaml::Node;

/// What became of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Sections of `host.toml`.
    pub text: String,
    /// What its reader should know, in the order of what was read.
    pub notes: Vec<Note>,
}

impl Imported {
    /// Whether something is left to do by hand.
    pub fn is_open(&self) -> bool {
        self.notes.iter().any(|note| note.is_open)
    }
}

/// One thing that was not carried over, or not as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which of several texts it is about; none where there is one.
    pub source: Option<String>,
    /// Line in what was read, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What it is about, such as `haos.disk_image.url`.
    pub about: String,
    /// What to know or do.
    pub message: String,
    /// Whether something is left to do by hand.
    pub is_open: bool,
}

impl Note {
    /// What it is about and what to know, without its place.
    pub fn told(&self) -> String {
        format!("{}: {}", plain(&self.about, 120), plain(&self.message, SHOWN))
    }
}

/// The most characters of a note that are shown: what it is about may be as long as the file.
const SHOWN: usize = 600;

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = self;
        write!(formatter, "{line}:{column}: {}", self.told())
    }
}

/// Text of others as it may be shown: on one line, nothing unprintable (T18), shortened.
fn plain(text: &str, most: usize) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown: String =
        text.chars().take(most).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// A value of others in a message: in backticks, shortened.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", plain(text, 80))
}

/// Where something stands, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<&Node> for Place {
    fn from(node: &Node) -> Self {
        Self { line: node.line, column: node.column }
    }
}

impl From<&Element> for Place {
    fn from(element: &Element) -> Self {
        Self { line: element.line, column: element.column }
    }
}

/// Notes as they come up.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: Vec<Note>,
    /// Which of several texts is being read.
    pub(crate) source: Option<String>,
}

impl Notes {
    /// Something that is left to do by hand.
    pub(crate) fn open(&mut self, at: impl Into<Place>, about: &str, message: impl Into<String>) {
        self.add(at.into(), about, message.into(), true);
    }

    /// Something that is only told.
    pub(crate) fn tell(&mut self, at: impl Into<Place>, about: &str, message: impl Into<String>) {
        self.add(at.into(), about, message.into(), false);
    }

    fn add(&mut self, at: Place, about: &str, message: String, is_open: bool) {
        let (Place { line, column }, about, source) = (at, about.to_owned(), self.source.clone());
        self.notes.push(Note { source, line, column, about, message, is_open });
    }

    /// Whether somebody is told already what to do about `key`, about what it stands in, or about
    /// what a machine lacks for want of it.
    pub(crate) fn knows(&self, key: &str) -> bool {
        let sum = key.strip_suffix(".sha256").map(|image| format!("{image}.checksum"));
        let disks =
            ["disk_image", "iso_image", "existing_disk"].map(|disk| format!("{key}.{disk}"));
        let is_around = |about: &str, key: &str| {
            let rest = key.strip_prefix(about);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.notes.iter().filter(|note| note.is_open).any(|note| {
            let about = note.about.as_str();
            is_around(about, key)
                || sum.as_deref() == Some(about)
                || disks.iter().any(|disk| is_around(disk, about))
        })
    }

    /// All of them, in the order of what was read.
    pub(crate) fn done(mut self) -> Vec<Note> {
        // Of several texts each has its own lines; they come one after the other.
        let mut sources: Vec<Option<String>> = Vec::new();
        for note in &self.notes {
            if sources.last() != Some(&note.source) && !sources.contains(&note.source) {
                sources.push(note.source.clone());
            }
        }
        let order = |source: &Option<String>| sources.iter().position(|one| one == source);
        self.notes.sort_by_cached_key(|note| (order(&note.source), note.line, note.column));
        self.notes
    }
}
